"""What a transfer tells of itself while it runs."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of progress, in Ollama's words.

    ``digest`` is set when it is about a blob, of which ``completed`` of ``total`` bytes are there.
    """

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0


Report = Callable[[Progress], None]


def about_blob(verb: str, digest: str, total: int, completed: int) -> Progress:
    """Progress of one blob; ``verb`` is ``pulling`` or ``pushing``."""
    return Progress(f"{verb} {short(digest)}", digest, total, completed)


def short(digest: str) -> str:
    """The first twelve hexadecimal digits."""
    return digest.removeprefix("sha256:")[:12]
