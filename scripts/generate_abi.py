"""Write the ctypes binding of libggml, libllama and libmtmd from the pinned package's headers."""

import argparse
import ctypes
import importlib
import importlib.metadata
import importlib.util
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

clang: Any = importlib.import_module("clang.cindex")  # has no type hints
CursorKind, TypeKind, TranslationUnit = clang.CursorKind, clang.TypeKind, clang.TranslationUnit
Cursor: TypeAlias = Any
Type: TypeAlias = Any

PACKAGE = "llama-cpp-python"
TARGET = Path(__file__).resolve().parent.parent / "src" / "cama" / "ggml"

# Functions that compute, wait, read or copy much: they release the GIL. So does, by itself, every
# function that takes a callback, because a callback could be run by another thread meanwhile.
BLOCKING = re.compile(
    r"""ggml_ (?: graph_compute\w* | quantize_chunk | threadpool_\w+ | backend_ (?:
            \w*graph_compute\w* | graph_plan_compute | sched_reserve\w* | sched_alloc_graph
            | sched_new | sched_free | \w*synchronize | event_wait | free | load\w* | cpu_init
            | init_\w+ | dev_init | dev_memory | dev_buffer_from_host_ptr
            | tensor_(?:set|get|copy|memset)\w* | \w*alloc_buffer | buffer_(?:free|clear)
            | alloc_ctx_tensors\w* ) | gallocr_(?:reserve|alloc)\w* )
    | llama_ (?: decode | encode | synchronize | tokenize | detokenize | model_load\w*
            | model_free | model_save\w* | model_quantize | init_from_model | free
            | backend_(?:init|free) | state_\w+ | memory_clear | adapter_lora_(?:init|free)
            | set_adapter\w* | (?:at|de)tach_threadpool )
    | mtmd_ (?: free | tokenize\w* | encode_chunk | bitmap_init | input_chunk_copy
            | get_cap_from_file )""",
    re.VERBOSE,
)
# Not bound: what other parts of Cama do themselves, and interfaces that nothing here calls
# (one is declared but not exported, one has the name of a structure).
UNWANTED = re.compile(
    r"""ggml_opt_\w+ | ggml_backend_meta_\w+ | ggml_abort | ggml_threadpool_get_n_threads
    | ggml_backend_graph_copy\w*
    | llama_(?:sampler|opt|perf|batch_ext)\w* | llama_process | llama_set_sampler
    | LLAMA_MODEL_META_KEY_\w+ | llama_get_sampled_\w+ | llama_model_init_from_user
    | llama_model_set_tensor_data_t | llama_embd | llama_token_data\w* | llama_logit_bias
    | (?:mtmd|MTMD)_(?:GEN|gen|batch|test)_\w+ | mtmd_bitmap_(?:init_lazy|lazy_callback)""",
    re.VERBOSE,
)
SCALARS = {
    TypeKind.VOID: "None", TypeKind.BOOL: "bool", TypeKind.FLOAT: "f32", TypeKind.DOUBLE: "f64",
    TypeKind.CHAR_S: "i8", TypeKind.SCHAR: "i8", TypeKind.UCHAR: "u8",
    TypeKind.SHORT: "i16", TypeKind.USHORT: "u16", TypeKind.INT: "i32", TypeKind.UINT: "u32",
    TypeKind.LONG: "i64", TypeKind.ULONG: "u64", TypeKind.LONGLONG: "i64",
    TypeKind.ULONGLONG: "u64", TypeKind.ENUM: "i32",
}  # fmt: skip
CTYPES = {
    "None": "None", "bool": "c_bool", "f32": "c_float", "f64": "c_double", "Text": "c_char_p",
    "Pointer": "c_size_t", "size_t": "c_size_t",
    "i8": "c_int8", "u8": "c_uint8", "i16": "c_int16", "u16": "c_uint16",
    "i32": "c_int32", "u32": "c_uint32", "i64": "c_int64", "u64": "c_uint64",
}  # fmt: skip


class Unbindable(Exception):
    """A declaration that the binding cannot or need not express."""


@dataclass
class Header:
    """Declarations of one or more headers of the package, in source order."""

    unit: Any
    names: tuple[str, ...]
    inherited: frozenset[str] = frozenset()

    @cached_property
    def cursors(self) -> list[Cursor]:
        found = self.unit.cursor.get_children()
        return [
            c for c in found if c.location.file and Path(c.location.file.name).name in self.names
        ]

    def constants(self) -> Iterator[str]:
        for cursor in self.cursors:
            if cursor.kind is CursorKind.MACRO_DEFINITION:
                tokens = "".join(t.spelling for t in cursor.get_tokens())[len(cursor.spelling) :]
                if match := re.fullmatch(r"\(?(-?(?:0x[\da-fA-F]+|\d+))u?\)?", tokens):
                    yield f"{cursor.spelling} = {match[1]}"
            elif cursor.kind is CursorKind.ENUM_DECL:
                values = [c for c in cursor.get_children() if not UNWANTED.fullmatch(c.spelling)]
                yield from (f"{c.spelling} = {c.enum_value}" for c in values)

    def callbacks(self) -> Iterator[str]:
        for cursor in self.cursors:
            if cursor.kind is not CursorKind.TYPEDEF_DECL or UNWANTED.fullmatch(cursor.spelling):
                continue
            function = _function_of(cursor.underlying_typedef_type)
            if function is not None:
                types = [function.get_result(), *function.argument_types()]
                words = [_c_type(t) for t in types]
                yield f"{cursor.spelling} = CFUNCTYPE({', '.join(words)})"

    @cached_property
    def structs(self) -> dict[str, Cursor]:
        """The structures that are bound."""
        found = (c for c in self.cursors if c.kind is CursorKind.STRUCT_DECL and c.is_definition())
        return {c.spelling: c for c in found if _is_plain(c)}

    def structures(self) -> Iterator[str]:
        yield from map(self._structure, self.structs.values())

    def _structure(self, cursor: Cursor) -> str:
        fields = list(cursor.type.get_fields())
        notes = [f"    {_name(m)}: {_python_type(m.type)}" for m in fields]
        pairs = [f'        ("{_name(m)}", {_c_type(m.type)}),' for m in fields]
        body = [*notes, "    _fields_ = [", *pairs, "    ]"]
        return "\n".join([f"class {cursor.spelling}(Structure):", *body])

    def functions(self) -> Iterator[str]:
        known = {*self.structs, *self.inherited}
        for cursor in self.cursors:
            if cursor.kind is CursorKind.FUNCTION_DECL and not UNWANTED.fullmatch(cursor.spelling):
                try:
                    yield f"    {cursor.spelling}: {_signature(cursor, known)}"
                except Unbindable:
                    continue


def _is_plain(struct: Cursor) -> bool:
    has_union = any(m.kind is CursorKind.UNION_DECL for m in struct.get_children())
    return not (has_union or struct.is_anonymous() or UNWANTED.fullmatch(struct.spelling))


def _name(cursor: Cursor) -> str:
    return f"{cursor.spelling}_" if keyword.iskeyword(cursor.spelling) else str(cursor.spelling)


def _function_of(kind: Type) -> Type | None:
    """The function that a pointer points to, if it is one."""
    pointee = kind.get_canonical().get_pointee()
    return pointee if pointee.kind is TypeKind.FUNCTIONPROTO else None


def _word(kind: Type) -> str:
    """A C type in the binding's vocabulary; structures by their name."""
    kind_name = kind.spelling.replace("const ", "")
    kind = kind.get_canonical()
    if kind_name == "size_t":
        return "size_t"
    if kind.kind in (TypeKind.INCOMPLETEARRAY, TypeKind.CONSTANTARRAY):
        return "Pointer"  # as a parameter
    if kind.kind is TypeKind.POINTER:
        pointee = kind.get_pointee()
        if pointee.spelling in ("FILE", "struct _IO_FILE"):
            raise Unbindable
        is_text = pointee.kind is TypeKind.CHAR_S and pointee.is_const_qualified()
        return "Text" if is_text else "Pointer"
    if kind.kind is TypeKind.RECORD:
        return str(kind.get_declaration().spelling)
    return SCALARS[kind.kind]


def _c_type(kind: Type) -> str:
    canonical = kind.get_canonical()
    if canonical.kind is TypeKind.CONSTANTARRAY:
        return f"{_c_type(canonical.element_type)} * {canonical.element_count}"
    word = _word(kind)
    return CTYPES.get(word, word)


def _python_type(kind: Type) -> str:
    canonical = kind.get_canonical()
    if canonical.kind is TypeKind.CONSTANTARRAY:
        return f"Array[{_c_type(canonical.element_type)}]"
    word = _word(kind)
    return "Address" if word == "Pointer" else word


def _is_deprecated(cursor: Cursor) -> bool:
    return bool(cursor.availability.name == "DEPRECATED")


def _takes_callback(kind: Type) -> bool:
    if _function_of(kind) is not None:
        return True
    pointee = kind.get_canonical().get_pointee()
    record = (kind if pointee.kind is TypeKind.INVALID else pointee).get_canonical()
    return any(_function_of(f.type) is not None for f in record.get_fields() or ())


def _signature(cursor: Cursor, structs: set[str]) -> str:
    arguments = list(cursor.type.argument_types())
    if cursor.type.is_function_variadic() or _is_deprecated(cursor):
        raise Unbindable
    words = [_word(t) for t in arguments]
    result = _word(cursor.result_type).replace("Pointer", "Address")
    unknown = {*words, result} - structs - set(CTYPES) - {"Address"}
    if unknown:
        raise Unbindable
    waits = BLOCKING.fullmatch(cursor.spelling) or any(_takes_callback(t) for t in arguments)
    return f"{'Blocking' if waits else 'Callable'}[[{', '.join(words)}], {result}]"


def _system_includes() -> list[str]:
    run = subprocess.run(
        ["gcc", "-E", "-Wp,-v", "-xc", "/dev/null"], capture_output=True, text=True, check=True
    )
    return re.findall(r"^ (/\S+)$", run.stderr, re.MULTILINE)


def _parse(folder: Path, *names: str) -> Any:
    source = "\n".join(f'#include "{name}"' for name in names)
    flags = [f"-I{folder}", *(f"-isystem{path}" for path in _system_includes())]
    unit = clang.Index.create().parse(
        "binding.c",
        ["-xc", "-std=c11", *flags],
        unsaved_files=[("binding.c", source)],
        options=TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD,
    )
    errors = [str(d) for d in unit.diagnostics if d.severity >= 3]
    if errors:
        sys.exit("\n".join(errors))
    return unit


IMPORTS = """from __future__ import annotations

from collections.abc import Callable
from collections.abc import Callable as Blocking
from ctypes import (
    CFUNCTYPE, Array, Structure, c_bool, c_char_p, c_double, c_float, c_int8, c_int16, c_int32,
    c_int64, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p,
)

from cama.ggml.binding import (
    Address, Binding, Pointer, Text, f32, f64, i8, i16, i32, i64, size_t, u8, u16, u32, u64,
)
"""


def _imports(body: str, inherited: frozenset[str]) -> str:
    """The import block, reduced to the names that ``body`` uses."""
    used = set(re.findall(r"\w+", body))
    keep = {"annotations", "Callable", "Blocking"} | used

    def reduce(match: re.Match[str]) -> str:
        names = [n for n in re.findall(r"\w+", match[2]) if n in keep]
        return f"{match[1]}(\n{''.join(f'    {n},{chr(10)}' for n in names)})"

    text = re.sub(r"(from \S+ import )\(([^)]*)\)", reduce, IMPORTS)
    shared = sorted(inherited & used)
    return text + (f"from cama.ggml._abi import {', '.join(shared)}\n" if shared else "")


def _module(header: Header, class_name: str, constants: list[str], about: str) -> str:
    values = "\n".join([*constants, *header.constants()])
    structures = "\n\n\n".join(header.structures())
    callbacks = "\n".join(header.callbacks())
    functions = "\n".join(header.functions())
    body = f"""{values}

{callbacks}


{structures}


class {class_name}(Binding):
    \"\"\"The functions of {", ".join(header.names)}.\"\"\"

{functions}
"""
    doc = f'"""{about} Generated by scripts/generate_abi.py; do not edit."""\n\n'
    return doc + _imports(body, header.inherited) + "\n" + body


def _library_folder() -> Path:
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        sys.exit(f"{PACKAGE} is not installed")
    return Path(spec.origin).parent / "lib"


def _ggml_version() -> str:
    library = ctypes.CDLL(str(_library_folder() / "libggml-base.so.0"))
    library.ggml_version.restype = ctypes.c_char_p
    return str(library.ggml_version().decode())


def headers() -> tuple[Header, Header, Header]:
    """What is bound of libggml, of libllama and of libmtmd."""
    include = _library_folder().parent.parent / "include"
    names = ("ggml.h", "ggml-alloc.h", "ggml-backend.h", "ggml-cpu.h")
    base = Header(_parse(include, *names), names)
    inherited = frozenset(base.structs)
    llama = Header(_parse(include, "llama.h"), ("llama.h",), inherited)
    return base, llama, Header(_parse(include, "mtmd.h"), ("mtmd.h",))


def generate() -> dict[str, str]:
    """File name -> text of every generated module."""
    package, ggml = importlib.metadata.version(PACKAGE), _ggml_version()
    about = f"{{}} as {PACKAGE} {package} ships it, ggml {ggml}."
    versions = [f'GGML_VERSION = "{ggml}"', f'LLAMA_CPP_PYTHON_VERSION = "{package}"']
    base, llama, mtmd = headers()
    return {
        "_abi.py": _module(base, "Ggml", versions, about.format("libggml")),
        "_llama_abi.py": _module(llama, "Llama", [], about.format("libllama")),
        "_mtmd_abi.py": _module(mtmd, "Mtmd", [], about.format("libmtmd")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a file is out of date")
    check = parser.parse_args().check
    stale = []
    for name, text in generate().items():
        path = TARGET / name
        if path.is_file() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text)
    verb = "out of date" if check else "written"
    print("\n".join(f"{name}: {verb}" for name in stale) or "up to date")
    sys.exit(bool(stale) and check)


if __name__ == "__main__":
    main()
