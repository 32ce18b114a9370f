"""Amounts of bytes as people write them: ``8GB``, ``512 MiB``, ``1.5T``, ``0``."""

import re

from cama.core.errors import InvalidOption

_SIZE = re.compile(r"(\d{1,15}(?:\.\d*)?|\.\d+) *([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Bytes; with an ``i`` a unit is a power of 1024, without one of 1000. Raises InvalidOption."""
    found = _SIZE.fullmatch(text)
    if found is None or (found[3] and not found[2]):
        raise InvalidOption("must be a size such as 8GB or 512MiB")
    unit: int = (1024 if found[3] else 1000) ** _POWERS[found[2].lower()]
    return round(float(found[1]) * unit)


def gibibytes(n_bytes: int) -> str:
    """``1.5 GiB``, as Ollama writes amounts of memory."""
    return f"{n_bytes / 2**30:.1f} GiB"
