"""Which of several files belong together: the parts of a model that is split."""

from collections.abc import Iterable
from pathlib import Path

from cama.core.errors import InvalidModelfile
from cama.gguf import GGUFFile
from cama.gguf.split import check_parts, find_parts, part_names, split_count
from cama.modelfile.sources import Source

Group = tuple[Source, ...]


def grouped(sources: Iterable[Source]) -> list[Group]:
    """``sources``, each alone or with the other parts of its model.

    Parts that are missing are looked for beside one that has the name of a part; those with other
    names, such as blobs, must all be given. Raises InvalidModelfile, ModelNotFound,
    InvalidModelFile, StoreError.
    """
    groups: list[Group] = []
    loose: list[Path] = []
    for source in sources:
        if not isinstance(source, Path) or _count(source) == 1:
            groups.append((source,))
        elif part_names(source.name):
            parts = find_parts(source)
            groups += [parts] if parts not in groups else []
        else:
            loose.append(source)
    return groups + ([_sorted(loose)] if loose else [])


def _count(path: Path) -> int:
    with GGUFFile.open(path) as file:
        return split_count(file)


def _sorted(parts: list[Path]) -> Group:
    count = _count(parts[0])
    if len(parts) != count:
        raise InvalidModelfile(f"the model is split over {count} files, and {len(parts)} are given")
    ordered = sorted(parts, key=_number)
    check_parts(ordered)
    return tuple(ordered)


def _number(path: Path) -> int:
    with GGUFFile.open(path) as file:
        number = file.get("split.no")
        return number if isinstance(number, int) else -1
