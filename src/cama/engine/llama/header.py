"""What of a file would end the process inside libllama, which trusts it."""

from typing import Final

from cama.core.errors import UnsupportedModel
from cama.engine.weight_types import NO_WEIGHTS
from cama.gguf import GGUFFile

_SCALINGS: Final = ("none", "linear", "yarn", "longrope")


def check_header(file: GGUFFile) -> None:
    """Raise UnsupportedModel for what libllama asserts, or computes without looking at it."""
    scaling = file.get(f"{file.architecture}.rope.scaling.type", "none")
    if scaling not in _SCALINGS:
        raise UnsupportedModel(f"rope scaling {scaling!r} is not implemented")
    for tensor in file.tensors.values():
        if tensor.type in NO_WEIGHTS:
            raise UnsupportedModel(
                f"{tensor.name} is of the type {tensor.type.name}, not one of weights"
            )
