"""The images of a prompt: from base64 to pixels, and to their places among its tokens.

They come from anywhere: what a file says of itself is checked before it is decoded, and a damaged
one is the client's error.
"""

import binascii
import hashlib
import io
import re
import struct
import zlib
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from cama.core.errors import InvalidRequest, Unsupported
from cama.core.generation import Generation
from cama.engine.base import Engine, Picture, Pixels, Prompt, Sees

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")

MAX_PIXELS: Final = 1 << 26
"""Twice what most cameras make; as pixels, 192 MiB."""

MAX_ASPECT: Final = 200
"""How many times longer than wide: beyond that, projectors make nothing of an image."""

_MARK: Final = re.compile(r"\[img-(\d{1,9})\]")

_BROKEN: Final = (
    OSError, SyntaxError, ValueError, ArithmeticError, LookupError, EOFError, TypeError,
    AttributeError, NotImplementedError, struct.error, zlib.error, MemoryError,
)  # fmt: skip
"""What Pillow's decoders raise on files that are not as they should be."""


def look(engine: Engine, generation: Generation) -> Prompt:
    """The prompt of ``generation``, which has images.

    Raises InvalidRequest, and Unsupported where the engine does not see.
    """
    if not isinstance(engine, Sees) or not engine.has_sight:
        raise Unsupported(
            f"the {engine.info.engine} engine runs this model without a projector: "
            "it cannot look at images",
            field="images",
        )
    if not isinstance(generation.prompt, str):
        raise InvalidRequest("images have no place in a prompt of token ids", field="images")
    pictures = [read_picture(image, n) for n, image in enumerate(generation.images)]
    parts = list(_parts(generation.prompt, pictures))
    return engine.look(parts, add_special=generation.add_special)


def _parts(prompt: str, pictures: Sequence[Picture]) -> Iterator[str | Picture]:
    """The texts of a prompt, and its pictures in place of their marks."""
    end, placed = 0, set()
    for mark in _MARK.finditer(prompt):
        number = int(mark[1])
        if number >= len(pictures):
            raise InvalidRequest(f"invalid image index: {number}", field="images")
        if mark.start() > end:
            yield prompt[end : mark.start()]
        yield pictures[number]
        placed.add(number)
        end = mark.end()
    if end < len(prompt):
        yield prompt[end:]
    if len(placed) < len(pictures):
        raise InvalidRequest("the prompt's template leaves an image out", field="images")


def read_picture(encoded: str, number: int = 0) -> Picture:
    """The picture in a file in base64. Raises InvalidRequest, with its ``number``."""
    try:
        data = b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise _refusal(number, f"is not base64: {error}") from None
    return Picture(_decode(data, number), hashlib.blake2b(data, digest_size=20).digest())


def _decode(data: bytes, number: int) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # Pillow's bound only warns: ours is below
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, number)
            return _pixels(image)
    except UnidentifiedImageError:
        names = ", ".join(FORMATS)
        raise _refusal(number, f"has an unknown format; these are known: {names}") from None
    except _BROKEN as error:
        raise _refusal(number, f"is damaged: {error or type(error).__name__}") from None


def _check_size(width: int, height: int, number: int) -> None:
    if width * height > MAX_PIXELS:
        raise _refusal(
            number, f"has {width} x {height} pixels; it may have {MAX_PIXELS >> 20} million"
        )
    if max(width, height) > MAX_ASPECT * max(1, min(width, height)):
        raise _refusal(number, f"of {width} x {height} pixels is too narrow to look at")


def _pixels(image: Any) -> Pixels:
    """Upright, its first frame, on white where it is transparent."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        shown = upright.convert("RGBA")
        ground = Image.new("RGBA", shown.size, "white")
        upright = Image.alpha_composite(ground, shown)
    return np.asarray(upright.convert("RGB"))


def _refusal(number: int, complaint: str) -> InvalidRequest:
    return InvalidRequest(f"image {number} {complaint}", field="images", image=number)
