"""What a runner writes to its standard error: into the log, and the last lines kept for errors."""

import asyncio
import logging
import re
from collections import deque

log = logging.getLogger("cama.runner")

KEPT_LINES = 20
MAX_LINE_BYTES = 4096

_LOG_LINE = re.compile(r"\S+ (?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) (?P<text>[\w.]+: .*)")
_ERROR = re.compile(
    r"error:|CUDA error|ROCm error|cudaMalloc failed|error loading model|^Timeout \(", re.IGNORECASE
)
_ASSERTION = "GGML_ASSERT"
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class LastWords:
    """The last lines of a process's standard error.

    Indented lines are the frames of a stack trace; they are not kept, so that the line that says
    what happened is not pushed out by where it happened.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._errors: deque[bool] = deque(maxlen=KEPT_LINES)

    def add(self, line: str, *, is_error: bool = False) -> None:
        if line and not line[0].isspace():
            self._lines.append(line)
            self._errors.append(is_error or _ERROR.search(line) is not None)

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)

    @property
    def error(self) -> str | None:
        """The line that best says why the process ended, if one does."""
        asserted = next((line for line in reversed(self._lines) if _ASSERTION in line), None)
        if asserted is not None:
            return asserted
        pairs = zip(reversed(self._lines), reversed(self._errors), strict=True)
        return next((line for line, is_error in pairs if is_error), None)


async def follow(stream: asyncio.StreamReader, pid: int, words: LastWords) -> None:
    """Log and keep every line of ``stream`` until its end."""
    rest = b""
    while data := await stream.read(1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _take(line, pid, words)
        # A line without an end must not grow for ever.
        if len(rest) > MAX_LINE_BYTES:
            _take(rest, pid, words)
            rest = b""
    if rest:
        _take(rest, pid, words)


def _take(raw: bytes, pid: int, words: LastWords) -> None:
    line = _UNPRINTABLE.sub("?", raw[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip())
    match = _LOG_LINE.fullmatch(line)
    level = logging.getLevelNamesMapping()[match["level"]] if match else logging.INFO
    text = match["text"] if match else line
    if text:
        log.log(level, "[%d] %s", pid, text)
    words.add(text, is_error=level >= logging.ERROR)
