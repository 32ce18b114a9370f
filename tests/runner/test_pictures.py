"""Images of requests: every format, and nothing that a file says of itself is believed."""

import io
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cama.core.errors import InvalidRequest
from cama.runner.pictures import FORMATS, MAX_PIXELS, read_picture
from tests.projectors import png

WIDTH, HEIGHT = 24, 16


def read(data: bytes) -> np.ndarray:
    return read_picture(b64encode(data).decode()).pixels


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def gradient() -> Image.Image:
    rows = np.linspace(0, 255, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3)
    return Image.fromarray(rows.astype(np.uint8))


FILES = {kind: saved(gradient(), kind) for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read(kind: str) -> None:
    pixels = read(FILES[kind])
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    expected = np.asarray(gradient()).astype(int)
    assert np.abs(pixels.astype(int) - expected).mean() < 8  # some formats lose a little


def test_pixels_of_a_png_are_exact() -> None:
    expected = np.random.default_rng(5).integers(0, 256, (32, 48, 3), np.uint8)
    assert np.array_equal(read(png(5)), expected)


def test_what_is_transparent_lies_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert read(saved(image, "PNG")).tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_photos_are_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    assert read(saved(gradient(), "JPEG", exif=exif)).shape == (WIDTH, HEIGHT, 3)


def test_deep_and_grey_and_indexed_images_are_colours() -> None:
    deep = Image.fromarray(np.full((2, 3), 0x8012, np.uint16))
    assert read(saved(deep, "PNG")).tolist() == [[[0x80] * 3] * 3] * 2
    assert read(saved(gradient().convert("L"), "PNG")).shape == (HEIGHT, WIDTH, 3)
    assert read(saved(gradient().convert("P"), "PNG")).shape == (HEIGHT, WIDTH, 3)
    assert read(saved(gradient().convert("CMYK"), "JPEG")).shape == (HEIGHT, WIDTH, 3)


def test_digest_tells_files_apart() -> None:
    one, same, other = (
        read_picture(b64encode(data).decode()).digest for data in (png(1), png(1), png(2))
    )
    assert one == same != other


def _sized(width: int, height: int) -> bytes:
    """A PNG that says it is large, and is not."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "unknown format"),
        (b"hello", "unknown format"),
        (b"%PDF-1.4 not a picture", "unknown format"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "unknown format"),
        (_sized(1 << 16, 1 << 16), "65536 x 65536 pixels; it may have 64 million"),
        (_sized(MAX_PIXELS + 1, 1), "it may have"),
        (_sized(2**31 - 1, 2**31 - 1), "it may have"),
        (_sized(4000, 2), "too narrow"),
        (_sized(64, 64), "damaged"),
        (png()[:-30], "damaged"),
    ],
)
def test_images_that_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        read_picture(b64encode(data).decode(), 3)
    assert caught.value.message.startswith("image 3 ")
    assert caught.value.fields["field"] == "images"


def test_what_is_not_base64_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="is not base64"):
        read_picture("***")


def test_images_of_a_request_are_bounded_together() -> None:
    with pytest.raises(InvalidRequest, match=r"image 2 is too much: .* 128 million pixels"):
        read_picture(b64encode(_sized(32, 32)).decode(), 2, left=32 * 32 - 1)


def _cut(data: bytes, at: int, _: bytes) -> bytes:
    return data[: at % len(data)]


def _overwritten(data: bytes, at: int, noise: bytes) -> bytes:
    at %= len(data)
    return data[:at] + noise + data[at + len(noise) :]


def _grown(data: bytes, at: int, noise: bytes) -> bytes:
    at %= len(data)
    return data[:at] + noise + data[at:]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from([_cut, _overwritten, _grown]),
    st.integers(0, 1 << 16),
    st.binary(min_size=1, max_size=12),
)
def test_a_damaged_file_is_read_or_refused(
    kind: str, spoil: Callable[[bytes, int, bytes], bytes], at: int, noise: bytes
) -> None:
    try:
        pixels = read(spoil(FILES[kind], at, noise))
    except InvalidRequest:
        return
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
