"""Models that are split over several GGUF files, as llama.cpp's gguf-split writes them."""

import re
from collections.abc import Sequence
from pathlib import Path

from cama.core.errors import InvalidModelFile, ModelNotFound
from cama.gguf.file import GGUFFile

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE | re.ASCII)

MAX_PARTS = 999
"""Far more than any model has; a hostile file may claim 65535."""


def part_names(name: str) -> tuple[str, ...]:
    """The file names of all parts, in order, when ``name`` is that of one; otherwise none."""
    found = _PART.fullmatch(name)
    if found is None or not 1 <= int(found[2]) <= int(found[3]) <= MAX_PARTS:
        return ()
    count, suffix = int(found[3]), name[-5:]
    return tuple(f"{found[1]}-{i:05d}-of-{count:05d}{suffix}" for i in range(1, count + 1))


def split_count(file: GGUFFile) -> int:
    """Over how many files the model is split. Raises InvalidModelFile for a number that is none."""
    count = file.get("split.count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_PARTS:
        raise _invalid(file.path, "split.count", f"is {count!r}, which is no number of parts")
    return max(count, 1)


def find_parts(path: Path) -> tuple[Path, ...]:
    """All parts of the model of which ``path`` is any part; ``path`` alone for a whole model.

    Parts are looked for beside ``path`` under the names that belong to its own. Raises
    ModelNotFound when one is missing, InvalidModelFile when one is no such part, StoreError.
    """
    with GGUFFile.open(path) as file:
        count = split_count(file)
    if count == 1:
        return (path,)
    names = part_names(path.name)
    if len(names) != count:
        raise _invalid(
            path, "split.count", f"is {count}, so the file must be named NAME-00001-of-{count:05d}"
        )
    parts = tuple(path.with_name(name) for name in names)
    missing = [part.name for part in parts if not part.exists()]
    if missing:
        raise ModelNotFound(
            f"{path.name} is one of {count} parts, and {', '.join(missing[:3])} is not beside it",
            path=str(path),
        )
    check_parts(parts)
    return parts


def check_parts(parts: Sequence[Path]) -> None:
    """Raise InvalidModelFile unless these files say that they are all parts of a model, in order.

    Also raises ModelNotFound and StoreError.
    """
    n_tensors, wanted = 0, None
    for number, path in enumerate(parts):
        with GGUFFile.open(path) as file:
            if split_count(file) != len(parts) or file.get("split.no") != number:
                raise _invalid(path, "split.no", f"is not that of part {number + 1}")
            wanted = file.get("split.tensors.count", wanted)
            n_tensors += len(file.tensors)
    if wanted is not None and wanted != n_tensors:
        raise _invalid(
            parts[0], "split.tensors.count", f"is {wanted!r}, and the parts have {n_tensors}"
        )


def _invalid(path: Path, key: str, reason: str) -> InvalidModelFile:
    return InvalidModelFile(f"{path}: {key} {reason}", path=str(path), field=key)
