"""The tree of manifests: ``<host>/<namespace>/<model>/<tag>``, one file per model name."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cama.core.errors import InvalidModelName
from cama.store.files import read_bounded, remove_empty_folders, write_whole
from cama.store.manifest import MANIFEST_LIMIT
from cama.store.names import ModelName

_log = logging.getLogger(__name__)

_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Manifests:
    """Reads and writes manifests by name. Methods raise OSError; writers hold the store's lock."""

    folder: Path

    def names(self, *, strict: bool = False) -> Iterator[ModelName]:
        """Every name that has a manifest; files and folders with other names do not count.

        A folder that cannot be read is skipped with a warning, or raises OSError when ``strict``.
        """
        for parts in _walk(self.folder, _DEPTH, strict=strict):
            try:
                yield ModelName(*parts)
            except InvalidModelName:
                continue

    def find(self, name: ModelName) -> ModelName | None:
        """The name of an existing manifest, which may be spelled in another case."""
        spelling = _spell(self.folder, name.parts)
        return ModelName(*spelling) if len(spelling) == _DEPTH else None

    def spell(self, name: ModelName) -> ModelName:
        """``name`` with the spelling of what exists, as far as it exists."""
        found = self.find(name)
        known = found.parts if found else _spell(self.folder, name.parts)
        return ModelName(*known, *name.parts[len(known) :])

    def path(self, name: ModelName) -> Path:
        return self.folder / name.path

    def read(self, name: ModelName) -> bytes:
        """Also raises InvalidModelFile for what is no file of sane size."""
        return read_bounded(self.path(name), MANIFEST_LIMIT)

    def write(self, name: ModelName, data: bytes) -> None:
        write_whole(self.path(name), data)

    def remove(self, name: ModelName) -> None:
        path = self.path(name)
        path.unlink()
        remove_empty_folders(path.parent, self.folder)


def _walk(folder: Path, depth: int, *, strict: bool) -> Iterator[tuple[str, ...]]:
    """Paths of the files exactly ``depth`` levels down, as tuples of names."""
    try:
        entries = _entries(folder)
    except OSError as error:
        if strict:
            raise
        _log.warning("skipping models: %s", error)
        return
    for entry in entries:
        if depth == 1:
            if not _is_folder(entry):
                yield (entry.name,)
        elif _is_folder(entry):
            for rest in _walk(folder / entry.name, depth - 1, strict=strict):
                yield (entry.name, *rest)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _spell(folder: Path, parts: Sequence[str]) -> tuple[str, ...]:
    """The longest existing path that equals ``parts`` but for case; the same case comes first."""
    if not parts:
        return ()
    wanted = parts[0].lower()
    same = [entry.name for entry in _entries(folder) if entry.name.lower() == wanted]
    best: tuple[str, ...] = ()
    for name in sorted(same, key=lambda name: (name != parts[0], name)):
        found = (name, *_spell(folder / name, parts[1:]))
        if len(found) == len(parts):
            return found
        best = max(best, found, key=len)
    return best


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                (entry for entry in entries if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
    except (FileNotFoundError, NotADirectoryError):
        return []
