"""Plain GGUF files as models: which text means a file, and the model that a file is."""

import os
import stat
from pathlib import Path

from cama.core.errors import InvalidModelName, ModelNotFound
from cama.store.facts import read_facts
from cama.store.models import StoredModel, file_model
from cama.store.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName

_SUFFIX = ".gguf"
_EXPLICIT = ("/", "./", "../", "~")


def is_explicit_path(text: str) -> bool:
    """Whether ``text`` can only be meant as a path; such a text is never a valid model name."""
    return text.startswith(_EXPLICIT) or text in (".", "..")


def find_file(text: str, search: tuple[Path, ...]) -> Path | None:
    """The file that ``text`` names: a relative path, or ``NAME[.gguf]`` in a searched folder."""
    is_path = "/" in text or text.lower().endswith(_SUFFIX)
    if is_path and _is_file(Path(text)):
        return Path(text)
    base = _base_name(text)
    candidates = (folder / f"{base}{_SUFFIX}" for folder in search if base)
    return next((path for path in candidates if _is_file(path)), None)


def open_file(name: str, path: Path) -> StoredModel:
    """The model that the GGUF file ``path`` is.

    Raises ModelNotFound, InvalidModelFile, UnsupportedModel and OSError.
    """
    try:
        resolved = Path(os.path.realpath(os.path.expanduser(path)))
        status = resolved.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte
        raise ModelNotFound(f"there is no file {name!r}", name=name) from None
    facts = read_facts(resolved)
    return file_model(name, resolved, status.st_size, status.st_mtime_ns, facts)


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
