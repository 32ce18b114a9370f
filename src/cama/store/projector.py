"""What a projector's header says of the memory that looking at an image takes."""

from typing import Final

from cama.gguf import GGUFFile

_FLOAT32: Final = 4
_LARGEST: Final = 1 << 16


def image_bytes(file: GGUFFile) -> int:
    """A bound of what is computed of one image at a time; 0 for what is no projector.

    Of each patch, beside the widest step, four results of the model's width are alive; attention
    keeps no table. Images of kinds that take any size may have more patches than the header says.
    """
    side, patch, width, n_ff = (
        _size(file, key)
        for key in ("image_size", "patch_size", "embedding_length", "feed_forward_length")
    )
    n_patches = (side // patch) ** 2 if patch else 0
    return n_patches * (n_ff + 4 * width) * _FLOAT32


def _size(file: GGUFFile, name: str) -> int:
    value = file.get(f"clip.vision.{name}")
    return value if isinstance(value, int) and 0 <= value <= _LARGEST else 0
