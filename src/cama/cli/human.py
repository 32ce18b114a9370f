"""Sizes, counts and times as people read them, in Ollama's forms."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from cama.core.errors import CamaError

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))
_HOUR = 3600
_DAY = 24 * _HOUR
_FOREVER = timedelta(days=20 * 365)
_ZERO_YEAR = 1
"""The year of Go's zero time, which stands for "never"."""


def size(n_bytes: int) -> str:
    """``42 GB``, ``1.5 GB``, ``1 GB``, ``999 B``."""
    for unit, scale in _UNITS:
        if n_bytes >= scale:
            value = n_bytes / scale
            if value >= 10 or n_bytes % scale == 0:
                return f"{int(value)} {unit}"
            return f"{value:.1f} {unit}"
    return f"{n_bytes} B"


def count(n: int) -> str:
    """``7B``, ``1.2B``, ``125M``, ``500.50M``, ``12K``."""
    if n >= 10**9:
        return f"{n // 10**9}B" if n % 10**9 == 0 else f"{n / 10**9:.1f}B"
    if n >= 10**6:
        return f"{n // 10**6}M" if n % 10**6 == 0 else f"{n / 10**6:.2f}M"
    return f"{n // 1000}K" if n >= 1000 else str(n)


def span(seconds: float) -> str:
    """About how long: ``4 minutes``, ``About an hour``."""
    hours = math.floor(seconds / _HOUR + 0.5)
    ranges: Sequence[tuple[bool, str]] = (
        (seconds < 1, "Less than a second"),
        (seconds < 2, "1 second"),
        (seconds < 60, f"{int(seconds)} seconds"),
        (seconds < 120, "About a minute"),
        (seconds < _HOUR, f"{int(seconds / 60)} minutes"),
        (hours <= 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 14 * 24, f"{hours // 24} days"),
        (hours < 60 * 24, f"{hours // 24 // 7} weeks"),
        (hours < 2 * 365 * 24, f"{hours // 24 // 30} months"),
    )
    return next((text for fits, text in ranges if fits), f"{int(seconds / _DAY) // 365} years")


def relative(when: datetime, now: datetime) -> str:
    """``2 hours ago``, ``4 minutes from now``, ``Forever``, ``Never``."""
    if when.year == _ZERO_YEAR:
        return "Never"
    ahead = when - now
    if ahead > _FOREVER:
        return "Forever"
    seconds = ahead.total_seconds()
    return f"{span(seconds)} from now" if seconds > 0 else f"{span(-seconds)} ago"


def moment(text: str) -> datetime:
    """A time in RFC 3339, which must have its offset. Raises CamaError."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = datetime.min
    if when.tzinfo is None:
        raise CamaError(f"not a time: {text!r}")
    return when


def duration(nanoseconds: int) -> str:
    """Go's form of a duration: ``4.648158584s``, ``12.3ms``, ``1m30s``."""
    if nanoseconds < 1000:
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    if nanoseconds < 10**6:
        return _decimal(nanoseconds, 10**3) + "µs"
    if nanoseconds < 10**9:
        return _decimal(nanoseconds, 10**6) + "ms"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, 10**9) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, scale: int) -> str:
    """``value / scale`` exactly, without trailing zeros; ``scale`` is a power of ten."""
    whole, fraction = divmod(value, scale)
    digits = f"{fraction:0{len(str(scale)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
