"""Files that a prompt names, for models that see or hear: read, and taken out of the text."""

import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from cama.core.errors import InvalidInput

_PATH: Final = re.compile(
    r"(?:[a-z]:)?(?:\.{1,2}/|/|\\)[\S ]+?\.(?:jpg|jpeg|png|webp|wav)\b", re.IGNORECASE
)
_ESCAPED: Final = re.compile(r"\\([ ()\[\]{}$&;'\\*?~])")
_MAX_BYTES: Final = 100 << 20


class Attached(NamedTuple):
    """A prompt without its files, and these in base64."""

    text: str
    images: tuple[str, ...] = ()


def attached(prompt: str) -> Attached:
    """Read the files that ``prompt`` names; what does not exist stays text.

    Raises InvalidInput for a file that is no picture or sound, or cannot be read.
    """
    images = []
    for found, path in _files(prompt):
        data, kind = _read(path)
        images.append(b64encode(data).decode())
        print(f"Added {kind} '{path}'", file=sys.stderr)
        prompt = prompt.replace(f"'{found}'", "").replace(found, "")
    return Attached(prompt.strip() if images else prompt, tuple(images))


def begins_with_file(prompt: str) -> bool:
    """Whether ``prompt`` begins with the name of a file that exists."""
    return any(prompt.startswith(name) for name, _ in _files(prompt))


def _files(prompt: str) -> Iterator[tuple[str, Path]]:
    """The names in ``prompt`` of files that exist, each once."""
    for name in dict.fromkeys(_PATH.findall(prompt)):
        plain, unescaped = Path(name), Path(_ESCAPED.sub(r"\1", name))
        path = next((one for one in (unescaped, plain) if _exists(one)), None)
        if path is not None:
            yield name, path


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no name of a file, such as one that is too long
        return False


def _read(path: Path) -> tuple[bytes, str]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _refusal("file size exceeds maximum limit (100MB)", path)
        data = path.read_bytes()
    except OSError as error:
        raise _refusal(f"{path}: {error.strerror}", path) from None
    kind = _kind(data)
    if not kind:
        raise _refusal(f"invalid file type: {path}", path)
    return data, kind


def _kind(data: bytes) -> str:
    """What a file is by its first bytes; empty for what is neither picture nor sound."""
    form = data[8:12] if data.startswith(b"RIFF") else b""
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or form == b"WEBP":
        return "image"
    return "audio" if form == b"WAVE" else ""


def _refusal(reason: str, path: Path) -> InvalidInput:
    return InvalidInput(f'Couldn\'t process file: "{reason}"', path=str(path))
