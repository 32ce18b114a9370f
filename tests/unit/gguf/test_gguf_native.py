"""libggml as the judge: the table of types, and what its own reader makes of our files."""

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from cama.gguf import (
    F64,
    U8,
    Array,
    GGMLType,
    GGUFFile,
    TensorSource,
    ValueType,
    Writable,
    write_gguf,
)

pytestmark = pytest.mark.native

N_TYPES = 43  # GGML_TYPE_COUNT; the library asserts on a larger number


class InitParams(ctypes.Structure):
    """struct gguf_init_params."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p))


SIGNATURES = {
    "ggml_blck_size": (ctypes.c_int64, ctypes.c_int),
    "ggml_type_size": (ctypes.c_size_t, ctypes.c_int),
    "ggml_type_name": (ctypes.c_char_p, ctypes.c_int),
    "gguf_init_from_file": (ctypes.c_void_p, ctypes.c_char_p, InitParams),
    "gguf_free": (None, ctypes.c_void_p),
    "gguf_get_data_offset": (ctypes.c_size_t, ctypes.c_void_p),
    "gguf_get_n_kv": (ctypes.c_int64, ctypes.c_void_p),
    "gguf_get_kv_type": (ctypes.c_int, ctypes.c_void_p, ctypes.c_int64),
    "gguf_get_key": (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64),
    "gguf_get_n_tensors": (ctypes.c_int64, ctypes.c_void_p),
    "gguf_get_tensor_name": (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64),
    "gguf_get_tensor_type": (ctypes.c_int, ctypes.c_void_p, ctypes.c_int64),
    "gguf_get_tensor_size": (ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int64),
    "gguf_get_tensor_offset": (ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int64),
}


@pytest.fixture(scope="module")
def libggml() -> ctypes.CDLL:
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        pytest.skip("llama-cpp-python is not installed")
    library = ctypes.CDLL(str(Path(spec.origin).parent / "lib" / "libggml-base.so.0"))
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a tensor of every type and metadata of several."""
    path = tmp_path / "all-types.gguf"
    metadata: dict[str, Writable] = {
        "text": "ü",
        "byte": U8(1),
        "exact": F64(0.1),
        "tokens": ["a", "", "b"],
        "none": Array(ValueType.STRING, []),
    }
    shapes = {kind: (kind.block_size * 2, 3) for kind in GGMLType}
    write_gguf(
        path,
        metadata,
        [
            TensorSource(kind.name, kind, shape, bytes(kind.n_bytes(shape)))
            for kind, shape in shapes.items()
        ],
        alignment=64,
    )
    return path


@pytest.fixture
def context(libggml: ctypes.CDLL, path: Path) -> Iterator[int]:
    """The file as libggml's reader sees it."""
    context = libggml.gguf_init_from_file(str(path).encode(), InitParams(True, None))
    assert context
    yield context
    libggml.gguf_free(context)


@pytest.mark.parametrize("kind", GGMLType)
def test_ggml_type_has_the_sizes_and_name_of_libggml(libggml: ctypes.CDLL, kind: GGMLType) -> None:
    assert libggml.ggml_type_name(kind).decode().upper() == kind.name
    assert libggml.ggml_blck_size(kind) == kind.block_size
    assert libggml.ggml_type_size(kind) == kind.type_size


def test_ggml_type_knows_every_type_of_libggml(libggml: ctypes.CDLL) -> None:
    assert {n for n in range(N_TYPES) if libggml.ggml_blck_size(n) > 0} == set(GGMLType)


def test_libggml_finds_the_metadata_we_wrote(
    libggml: ctypes.CDLL, path: Path, context: int
) -> None:
    found = {
        libggml.gguf_get_key(context, i).decode(): libggml.gguf_get_kv_type(context, i)
        for i in range(libggml.gguf_get_n_kv(context))
    }
    with GGUFFile.open(path) as file:
        ours = {key: file.typed(key) for key in file.metadata}
    assert found == {
        key: ValueType.ARRAY if isinstance(value, Array) else value.type
        for key, value in ours.items()
    }


def test_libggml_finds_the_tensors_we_wrote(libggml: ctypes.CDLL, path: Path, context: int) -> None:
    start = libggml.gguf_get_data_offset(context)
    found = [
        (
            libggml.gguf_get_tensor_name(context, i).decode(),
            libggml.gguf_get_tensor_type(context, i),
            start + libggml.gguf_get_tensor_offset(context, i),
            libggml.gguf_get_tensor_size(context, i),
        )
        for i in range(libggml.gguf_get_n_tensors(context))
    ]
    with GGUFFile.open(path) as file:
        assert start == file.data_offset
        assert found == [(t.name, t.type, t.offset, t.n_bytes) for t in file.tensors.values()]
