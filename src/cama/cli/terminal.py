"""What a terminal is told: its width, and text that cannot take control of it."""

import os
from typing import TextIO

DEFAULT_WIDTH = 80

_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(0x7F, 0xA0)])
"""C0 and C1 controls but tab and line break: escape sequences in a model's text do nothing."""


def clean(text: str) -> str:
    """``text`` without control characters."""
    return text.translate(_CONTROLS)


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def width(stream: TextIO) -> int:
    """Columns of the terminal behind ``stream``."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH
    except (OSError, ValueError):
        return DEFAULT_WIDTH
