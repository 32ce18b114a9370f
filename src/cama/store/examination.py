"""The examination of a store: what is damaged, missing or left over, and what would mend it.

It changes nothing and takes no lock, so it disturbs no server; what living processes work on is
left out.
"""

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cama.core.errors import CamaError, InvalidModelFile
from cama.store.blobs import Blobs
from cama.store.digests import find_digest
from cama.store.files import UNFINISHED
from cama.store.findings import Examination, Remedy, mark_of
from cama.store.manifest import Layer, Manifest
from cama.store.manifests import Manifests
from cama.store.models import read_contents
from cama.store.pins import pinned
from cama.store.pruning import GRACE_SECONDS, age, entries, grace, is_partial

_CHUNK_BYTES = 4 << 20
_PIECE = re.compile(r"(.*-partial)-\d+")


class _Model(NamedTuple):
    """A manifest as it was read; as long as it has that ``mark``, its blobs must be there."""

    mark: tuple[int, ...]
    data: bytes
    manifest: Manifest

    def is_at(self, path: Path) -> bool:
        try:
            return mark_of(path.lstat()) == self.mark
        except FileNotFoundError:
            return False


Progress = Callable[[int], None]
"""Is told how many more bytes were read."""


def examine(
    manifests: Manifests,
    blobs: Blobs,
    progress: Progress = lambda n_bytes: None,
    *,
    reads_blobs: bool = True,
) -> Examination:
    """Look at everything. Unless ``reads_blobs``, contents are not compared with their digests.

    Raises OSError.
    """
    work = _Work(manifests, blobs, progress, reads_blobs)
    work.folders()
    work.manifests_of_models()
    if _may_read(blobs.folder):
        for path in entries(blobs.folder):
            work.blob(path)
        for path, model in work.models.items():
            work.parts(path, model)
        work.leftovers()
    return work.found


@dataclass
class _Work:
    """One examination; ``sound`` are sizes by digest, ``unknown`` blobs that we may not read,
    and ``old`` those that have an old name."""

    manifests: Manifests
    blobs: Blobs
    progress: Progress
    reads_blobs: bool
    found: Examination = field(default_factory=Examination)
    models: dict[Path, _Model] = field(default_factory=dict)
    sound: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    old: set[str] = field(default_factory=set)
    is_complete: bool = True
    """Whether all that manifests refer to is known."""

    def folders(self) -> None:
        for top in (self.manifests.folder, self.blobs.folder):
            self._folder(top)
            for folder, folders, names in os.walk(top):
                for name in folders:
                    self._folder(Path(folder, name))
                for path in (Path(folder, n) for n in names if n.startswith(UNFINISHED)):
                    with contextlib.suppress(FileNotFoundError):
                        is_old = age(path.lstat(), time.time()) > GRACE_SECONDS
                        self._unfinished(path, is_old=is_old)

    def manifests_of_models(self) -> None:
        for name in self.manifests.names():
            path = self.manifests.path(name)
            self.found.n_models += 1
            try:
                mark = mark_of(path.lstat())
                data = self.manifests.read(name)
                self.models[path] = _Model(mark, data, Manifest.from_bytes(data, name.short))
            except PermissionError:
                self.is_complete = False
                self.found.add_unreadable(path)
            except FileNotFoundError as error:
                if path.is_symlink():
                    self._damaged_manifest(path, error)
            except (InvalidModelFile, OSError) as error:
                self._damaged_manifest(path, error)
        self.is_complete &= not any(f.kind == "unreadable" for f in self.found.findings)

    def blob(self, path: Path) -> None:
        """Look at one file of the folder of blobs, if that is what its name says."""
        digest = find_digest(path.name)
        if digest is None:
            return
        self.found.n_blobs += 1
        try:
            size = self._check(path, digest)
        except FileNotFoundError:
            if not path.is_symlink():  # deleted meanwhile
                return
            self.found.add("damaged-blob", path, "leads to no file", Remedy.QUARANTINE)
        except PermissionError:
            self.unknown.add(digest)
            self.found.add_unreadable(path)
        except InvalidModelFile as error:
            self.found.add("damaged-blob", path, error.message, Remedy.QUARANTINE)
        except OSError as error:
            text = f"cannot be read: {error.strerror}"
            self.found.add("damaged-blob", path, text, Remedy.QUARANTINE)
        else:
            self.sound[digest] = size
            self.found.n_bytes += size
            if path.name != self.blobs.path(digest).name:
                self._old_name(path, digest)

    def parts(self, path: Path, model: _Model) -> None:
        """Look whether all is there that a manifest refers to."""
        manifest = model.manifest
        if not all(self._has(path, model, layer) for layer in manifest.blobs):
            return
        if manifest.digests & (self.unknown | self.old):
            return
        try:
            read_contents(self.blobs, model.data, path.name)
        except (CamaError, OSError) as error:
            if model.is_at(path):
                self._damaged_manifest(path, error)

    def leftovers(self) -> None:
        used = {digest for model in self.models.values() for digest in model.manifest.digests}
        pins = pinned(self.blobs.pins)
        dead = frozenset[str]().union(*pins.dead.values())
        now = time.time()
        for path in entries(self.blobs.folder):
            digest = find_digest(path.name)
            is_kept = digest and (digest in used or digest not in self.sound)
            if not is_kept and path.name not in pins.living:
                with contextlib.suppress(FileNotFoundError):  # it went meanwhile
                    is_old = path.name in dead or age(path.lstat(), now) > grace(path.name)
                    self._leftover(path, is_old=is_old)

    def _folder(self, folder: Path) -> None:
        if not _may_read(folder):
            self.found.add_unreadable(folder)

    def _check(self, path: Path, digest: str) -> int:
        """The size of a blob. Raises InvalidModelFile and OSError."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _damaged(path, "is no regular file")
        if not _may_read(path):
            raise PermissionError
        if not self.reads_blobs:
            if self.blobs.size(digest) is None and ":" not in path.name:
                raise _damaged(path, "was changed in place after the model was created")
            return status.st_size
        if self._digest(path) != digest:
            raise _damaged(path, "is damaged: its content does not match its name")
        return status.st_size

    def _digest(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                self.progress(len(chunk))
        return f"sha256:{digest.hexdigest()}"

    def _has(self, path: Path, model: _Model, layer: Layer) -> bool:
        """Whether the blob of ``layer`` is there and sound; notes when it is not."""
        size = self.sound.get(layer.digest)
        if layer.digest in self.unknown or size == layer.size:
            return True
        if not model.is_at(path):  # it changed since, and what it referred to went
            return False
        # Where there is none at all, a drive may be missing.
        remedy = Remedy.QUARANTINE if self.found.n_blobs else Remedy.NONE
        if size is None:
            text = f"refers to the blob {layer.digest}, which is missing or damaged"
            self.found.add("missing-blob", path, text, remedy)
        else:
            text = f"says that {layer.digest} has {layer.size} bytes, and it has {size}"
            self.found.add("wrong-size", path, text, remedy)
        return False

    def _damaged_manifest(self, path: Path, error: CamaError | OSError) -> None:
        self.is_complete = False
        text = error.message if isinstance(error, CamaError) else (error.strerror or str(error))
        self.found.add("damaged-manifest", path, text, Remedy.QUARANTINE)

    def _old_name(self, path: Path, digest: str) -> None:
        if os.path.lexists(self.blobs.path(digest)):
            text = "has an old name, and its twin has the new one"
            self.found.add("old-name", path, text, Remedy.DELETE, is_leftover=True)
        else:
            self.old.add(digest)
            self.found.add("old-name", path, "has an old name", Remedy.RENAME)

    def _leftover(self, path: Path, *, is_old: bool) -> None:
        if find_digest(path.name):
            self._unused(path, is_old=is_old)
        elif is_partial(path.name):
            self._partial(path, is_old=is_old)
        elif path.name.startswith("sha256-"):
            self._unfinished(path, is_old=is_old)
        elif not path.name.startswith(UNFINISHED):
            self.found.add("unknown-file", path, "is no file of a store", is_leftover=True)

    def _unused(self, path: Path, *, is_old: bool) -> None:
        text, remedy = "is used by no model", Remedy.DELETE
        if not self.is_complete:
            text, remedy = f"{text} that can be read", Remedy.NONE
        elif not is_old:
            text, remedy = f"{text} yet", Remedy.NONE
        self.found.add("unused-blob", path, text, remedy, is_leftover=True)

    def _partial(self, path: Path, *, is_old: bool) -> None:
        piece = _PIECE.fullmatch(path.name)
        if piece and not (self.blobs.folder / piece[1]).exists():
            text, remedy = "belongs to a download that is gone", Remedy.DELETE
        elif is_old:
            text, remedy = "is part of a download that nobody went on with", Remedy.DELETE
        elif piece:
            return
        else:
            text, remedy = "is part of a download that can go on", Remedy.NONE
        self.found.add("partial", path, text, remedy, is_leftover=True)

    def _unfinished(self, path: Path, *, is_old: bool) -> None:
        remedy = Remedy.DELETE if is_old else Remedy.NONE
        self.found.add("unfinished", path, "was never finished", remedy, is_leftover=True)


def _may_read(path: Path) -> bool:
    mode = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    # In this order: what goes meanwhile is missing, not forbidden.
    return os.access(path, mode, effective_ids=True) or not path.exists()


def _damaged(path: Path, text: str) -> InvalidModelFile:
    return InvalidModelFile(text, path=str(path), field="blob")
