"""What the native libraries log of errors while they do one thing."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cama.ggml._abi import GGML_LOG_LEVEL_CONT, GGML_LOG_LEVEL_ERROR, ggml_log_callback
from cama.ggml.library import address_of, silent_log

_KEPT_LINES = 20

SetLog = Callable[[int | None, int | None], None]
"""A library's function that takes a log callback, and data for it."""


def reason(lines: list[str]) -> str:
    """The first line: it names the cause, and the later ones what failed because of it."""
    first = lines[0] if lines else "no reason given"
    return re.sub(r"^\w+: (?:error loading model: |error: )?", "", first)


@contextmanager
def kept_errors(set_log: SetLog) -> Iterator[list[str]]:
    """Error lines that this thread causes, filled in when the block ends."""
    found: list[str] = []
    with _errors.turn:
        _errors.begin()
        set_log(address_of(_errors.callback), None)
        try:
            yield found
        finally:
            set_log(silent_log(), None)
            found += _errors.lines


class _Errors:
    """Keeps error lines, for one call at a time.

    A library's logger is global to the process: calls take ``turn``s, and lines of other threads
    are ignored. The Python callback is in place only for the call; what is computed meanwhile on
    other threads does not wait for it, since no function that keeps the GIL waits for a thread that
    logs.
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()
        # lives for good: a thread may have read the address just before it is replaced
        self.callback = ggml_log_callback(self._log)
        self._thread = 0
        self._level = 0
        self._lines: list[str] = []

    def begin(self) -> None:
        self._thread, self._lines = threading.get_ident(), []

    @property
    def lines(self) -> list[str]:
        return [line.strip() for line in self._lines[-_KEPT_LINES:] if line.strip()]

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
