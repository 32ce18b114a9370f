"""How a model is named to the server: a store name as typed, a file by its absolute path."""

import os
from pathlib import Path

from cama.core.errors import ModelNotFound


def model_reference(text: str) -> str:
    """What to send for ``text``.

    The server has another working directory, so that a relative path would mean another file there.
    Raises ModelNotFound for what can only be a path and leads to no file.
    """
    if not _may_be_path(text):
        return text
    path = Path(text).expanduser()
    if path.is_file():
        return str(path.absolute())
    if text.startswith(("/", "./", "../", "~", os.sep)):
        raise ModelNotFound(f"no such model file: {text}", path=text)
    return text


def _may_be_path(text: str) -> bool:
    return "/" in text or os.sep in text or text.lower().endswith(".gguf")
