"""Plain GGUF files as models: which text means a file, and the model that a file is."""

import os
import stat
from functools import lru_cache
from pathlib import Path

from cama.core.errors import InvalidModelName, ModelNotFound
from cama.gguf.split import find_parts, part_names
from cama.store.facts import read_facts
from cama.store.models import StoredModel, file_model
from cama.store.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName

_SUFFIX = ".gguf"
_EXPLICIT = ("/", "./", "../", "~")


def is_explicit_path(text: str) -> bool:
    """Whether ``text`` can only be meant as a path; such a text is never a valid model name."""
    return text.startswith(_EXPLICIT) or text in (".", "..")


def find_file(text: str, search: tuple[Path, ...]) -> Path | None:
    """The file that ``text`` names: a relative path, or ``NAME[.gguf]`` in a searched folder.

    Of a model that is split over several files it is the first.
    """
    is_path = "/" in text or text.lower().endswith(_SUFFIX)
    if is_path and _is_file(Path(text)):
        return Path(text)
    base = _base_name(text)
    for folder in search if base else ():
        split = sorted(folder.glob(f"{base}-00001-of-?????{_SUFFIX}"))
        for path in (folder / f"{base}{_SUFFIX}", *split):
            if _is_file(path):
                return path
    return None


def open_file(name: str, path: Path) -> StoredModel:
    """The model that the GGUF file ``path`` is.

    Raises ModelNotFound, InvalidModelFile, UnsupportedModel and OSError.
    """
    try:
        given = Path(os.path.expanduser(path))
        resolved = Path(os.path.realpath(given))
        status = resolved.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte
        raise ModelNotFound(f"there is no file {name!r}", name=name) from None
    if not part_names(given.name):
        return file_model(name, [resolved], status, read_facts(resolved))
    # Parts go by the names that they are given, which need not be those of the files they lead to.
    beside = [given.with_name(name) for name in part_names(given.name)]
    found = _parts(given, tuple(_mark(part) for part in beside))
    parts = [Path(os.path.realpath(part)) for part in found]
    return file_model(name, parts, parts[0].stat(), read_facts(*parts))


@lru_cache(maxsize=64)
def _parts(path: Path, marks: tuple[tuple[int, int, int] | None, ...]) -> tuple[Path, ...]:
    """All parts of the model that ``path`` is one of, looked for again when one has changed."""
    return find_parts(path)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _base_name(text: str) -> str | None:
    """The name of the file that ``text`` may stand for; only a plain model name stands for one."""
    try:
        name = ModelName.parse(text)
    except InvalidModelName:
        return None
    if (name.host, name.namespace, name.tag) != (DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG):
        return None
    has_suffix = name.model.lower().endswith(_SUFFIX)
    return name.model[: -len(_SUFFIX)] if has_suffix else name.model


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
