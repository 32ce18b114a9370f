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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from cama.core.errors import InvalidRequest, Unsupported
from cama.core.generation import Generation
from cama.engine.base import Engine, Picture, Pixels, Prompt, Sees

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")

MAX_PIXELS: Final = 1 << 26
"""Twice what most cameras make; as pixels, 192 MiB."""

MAX_PIXELS_IN_ALL: Final = 1 << 27
"""Of the images of one request: they are decoded together."""

MAX_ASPECT: Final = 200
"""How many times longer than wide: beyond that, projectors make nothing of an image."""

_DIGEST: Final = 20

_MOST_TRIES: Final = 3
_MARGIN: Final = 0.97
"""Projectors round sides up to whole patches."""

_MARK: Final = re.compile(r"\[img-(\d{1,9})\]")

_BROKEN: Final = (
    OSError, SyntaxError, ValueError, ArithmeticError, LookupError, EOFError, TypeError,
    AttributeError, NotImplementedError, struct.error, zlib.error, MemoryError,
)  # fmt: skip
"""What Pillow's decoders raise on files that are not as they should be."""


def look(engine: Engine, generation: Generation) -> Prompt:
    """The prompt of ``generation``, which has images.

    Where a projector takes images of any size, one that would fill more than half of the context is
    made smaller: it would be cut off otherwise, and not be seen at all. Raises InvalidRequest, and
    Unsupported where the engine does not see.
    """
    if not isinstance(engine, Sees) or not engine.has_sight:
        raise Unsupported(
            f"the {engine.info.engine} engine runs this model without a projector: "
            "it cannot look at images",
            field="images",
        )
    if not isinstance(generation.prompt, str):
        raise InvalidRequest("images have no place in a prompt of token ids", field="images")
    pictures = _pictures(generation.images)
    most = engine.info.n_ctx // 2
    for _ in range(_MOST_TRIES):
        parts = list(_parts(generation.prompt, pictures))
        prompt = engine.look(parts, add_special=generation.add_special)
        sizes = _sizes(prompt, parts)
        if max(sizes.values()) <= most:
            break
        pictures = [_shrunk(one, sizes[one.digest], most) for one in pictures]
    return prompt


def _pictures(images: Sequence[str]) -> list[Picture]:
    found: list[Picture] = []
    left = MAX_PIXELS_IN_ALL
    for number, image in enumerate(images):
        found.append(read_picture(image, number, left))
        left -= found[-1].pixels.size // 3
    return found


def _sizes(prompt: Prompt, parts: Sequence[str | Picture]) -> Mapping[bytes, int]:
    """Tokens that each picture takes, by its digest."""
    n_places = Counter(part.digest for part in parts if isinstance(part, Picture))
    n_tokens: Counter[bytes] = Counter()
    for _, image in prompt.images:
        n_tokens[image.digest] += len(image.tokens)
    return {digest: n_tokens[digest] // n for digest, n in n_places.items()}


def _shrunk(picture: Picture, n_tokens: int, most: int) -> Picture:
    """``picture``, smaller where it takes more than ``most`` tokens."""
    if n_tokens <= most:
        return picture
    from PIL import Image

    height, width, _ = picture.pixels.shape
    scale = (most / n_tokens) ** 0.5 * _MARGIN
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(picture.pixels).resize(size, Image.Resampling.LANCZOS)
    digest = hashlib.blake2b(picture.digest + repr(size).encode(), digest_size=_DIGEST)
    return Picture(np.asarray(image), digest.digest())


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


def read_picture(encoded: str, number: int = 0, left: int = MAX_PIXELS_IN_ALL) -> Picture:
    """The picture in a file in base64, of at most ``left`` pixels.

    Raises InvalidRequest, with its ``number``.
    """
    try:
        data = b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise _refusal(number, f"is not base64: {error}") from None
    return Picture(_decode(data, number, left), hashlib.blake2b(data, digest_size=_DIGEST).digest())


def _decode(data: bytes, number: int, left: int) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # Pillow's bound only warns: ours is below
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, number, left)
            return _pixels(image)
    except UnidentifiedImageError:
        names = ", ".join(FORMATS)
        raise _refusal(number, f"has an unknown format; these are known: {names}") from None
    except _BROKEN as error:
        raise _refusal(number, f"is damaged: {error or type(error).__name__}") from None


def _check_size(width: int, height: int, number: int, left: int) -> None:
    if width * height > MAX_PIXELS:
        raise _refusal(
            number, f"has {width} x {height} pixels; it may have {MAX_PIXELS >> 20} million"
        )
    if width * height > left:
        most = MAX_PIXELS_IN_ALL >> 20
        raise _refusal(number, f"is too much: those of a request may have {most} million pixels")
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
