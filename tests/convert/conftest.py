"""Converting as the job does it, in this process."""

from pathlib import Path

from cama.convert.checkpoint import Checkpoint
from cama.convert.model import convert_model
from tests.convert.checkpoints import Made


def ignore(status: str, completed: int, total: int) -> None:
    """Progress that nobody watches."""


def convert(made: Made, target: Path, wanted: str = "F32") -> list[str]:
    """Write ``made`` as a GGUF file; returns the notes."""
    return list(convert_model(Checkpoint(made.files, "made"), target, wanted, "", ignore))
