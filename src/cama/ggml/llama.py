"""The one libllama of this process: loads models and contexts, and tells why when it cannot."""

import ctypes
import functools
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cama.core.errors import LoadFailed
from cama.ggml._abi import GGML_LOG_LEVEL_CONT, GGML_LOG_LEVEL_ERROR, ggml_log_callback
from cama.ggml._llama_abi import Llama, llama_context_params, llama_model_params
from cama.ggml.library import address_of, ggml, library_path, silent_log

_KEPT_LINES = 20


@functools.cache
def llama() -> Llama:
    """The loaded library, silent. Raises LibraryMismatch when it is not the pinned one."""
    ggml()
    library = Llama([library_path("llama")])
    library.llama_log_set(silent_log(), None)
    library.llama_backend_init()
    return library


def load_model(path: Path, params: llama_model_params, parts: Sequence[Path] = ()) -> int:
    """The address of a loaded model, from all its ``parts`` when it is split over several files.

    Raises LoadFailed with libllama's own reason.
    """
    names = (ctypes.c_char_p * len(parts))(*map(os.fsencode, parts))
    with _errors.kept() as lines:
        if parts:
            model = llama().llama_model_load_from_splits(address_of(names), len(parts), params)
        else:
            model = llama().llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise LoadFailed(f"cannot load {path.name}: {_reason(lines)}", path=str(path), log=lines)
    return model


def new_context(model: int, params: llama_context_params) -> int:
    """The address of a context. Raises LoadFailed with libllama's own reason."""
    with _errors.kept() as lines:
        context = llama().llama_init_from_model(model, params)
    if not context:
        raise LoadFailed(f"cannot create a context: {_reason(lines)}", log=lines)
    return context


def load_adapter(model: int, path: Path) -> int:
    """The address of a LoRA that was loaded for ``model``. Raises LoadFailed as above."""
    with _errors.kept() as lines:
        adapter = llama().llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        raise LoadFailed(f"cannot load {path.name}: {_reason(lines)}", path=str(path), log=lines)
    return adapter


def _reason(lines: list[str]) -> str:
    """The first line: it names the cause, and the later ones what failed because of it."""
    first = lines[0] if lines else "no reason given"
    return re.sub(r"^\w+: (?:error loading model: )?", "", first)


class _Errors:
    """Keeps libllama's error lines, for one call at a time.

    The logger is global to the process: calls take turns, and lines of other threads are ignored.
    The Python callback is in place only for the call; what is computed meanwhile on other threads
    does not wait for it, since no function that keeps the GIL waits for a thread that logs.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._thread = 0
        self._level = 0
        self._lines: list[str] = []
        # lives for good: a thread may have read the address just before it is replaced
        self._callback = ggml_log_callback(self._log)

    @contextmanager
    def kept(self) -> Iterator[list[str]]:
        """Error lines that this thread causes, filled in when the block ends."""
        found: list[str] = []
        with self._turn:
            self._thread, self._lines = threading.get_ident(), []
            llama().llama_log_set(address_of(self._callback), None)
            try:
                yield found
            finally:
                llama().llama_log_set(silent_log(), None)
                found += [line.strip() for line in self._lines[-_KEPT_LINES:] if line.strip()]

    def _log(self, level: int, text: bytes, _: int) -> None:
        if threading.get_ident() != self._thread:
            return
        line = text.decode(errors="replace")
        if level != GGML_LOG_LEVEL_CONT:
            self._level = level
        if self._level == GGML_LOG_LEVEL_ERROR:
            if level == GGML_LOG_LEVEL_CONT and self._lines:
                self._lines[-1] += line
            else:
                self._lines.append(line)


_errors = _Errors()
