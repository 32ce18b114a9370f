"""Reading and writing GGUF files, in pure Python."""

from cama.gguf.encode import Writable
from cama.gguf.file import GGUFFile
from cama.gguf.ggml_types import GGMLType
from cama.gguf.tensors import TensorInfo
from cama.gguf.values import (
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Scalar,
    Value,
    ValueType,
)
from cama.gguf.writer import TensorSource, write_gguf

__all__ = [
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "U8",
    "U16",
    "U32",
    "U64",
    "Array",
    "GGMLType",
    "GGUFFile",
    "Scalar",
    "TensorInfo",
    "TensorSource",
    "Value",
    "ValueType",
    "Writable",
    "write_gguf",
]
