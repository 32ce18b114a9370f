"""Converting as the job does it, in this process."""

from pathlib import Path

from cama.convert.checkpoint import Checkpoint
from cama.convert.model import convert_model
from tests.convert.checkpoints import Made


def ignore(status: str, completed: int, total: int) -> None:
    """Progress that nobody watches."""


def convert(made: Made, target: Path, wanted: str = "F32") -> list[str]:
    """Write ``made`` as a GGUF file; returns the notes."""
    checkpoint = Checkpoint(made.files, "made")
    return list(convert_model(checkpoint, target, wanted, "", ignore).notes)
