"""The model store: Ollama's layout on disk, plain GGUF files where they are, and bundled models."""

import builtins
import hashlib
import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from pathlib import Path
from typing import Self

from cama.core.errors import (
    CamaError,
    InvalidModelFile,
    ModelNotFound,
    StoreError,
    Unsupported,
    UnsupportedModel,
)
from cama.core.generation import Adapter
from cama.core.settings import Settings
from cama.store.blobs import Blobs
from cama.store.bundled import FOLDER as BUNDLED
from cama.store.bundled import bundled, find_bundled
from cama.store.digests import blob_name
from cama.store.examination import Progress, examine
from cama.store.files import storing
from cama.store.findings import Examination, Finding, mark_of
from cama.store.hub_cache import find_cached
from cama.store.lock import locked
from cama.store.manifest import LARGE, Manifest
from cama.store.manifests import Manifests
from cama.store.mending import mend
from cama.store.models import Contents, StoredModel, read_contents, stored_model
from cama.store.names import ModelName
from cama.store.plain import find_file, is_explicit_path, open_file
from cama.store.pruning import Pruned, entries, prune, remove_unused, rename_old, sweep
from cama.store.staging import Staging

_log = logging.getLogger(__name__)
_TRIES = 10
"""How often a model is read that others replace just then."""

_BUNDLED = "{} is part of Cama, not of the store; FROM in a Modelfile makes a model of it"


class Store:
    """The models under ``root``, and GGUF files in the folders of ``search`` by name.

    What is found in neither is looked for in ``hub_cache``, the folder of the Hugging Face hub's
    own downloads, and among the models in the folder ``bundled``.
    Reading needs no lock and writes nothing, so that a store of another user can be read. Writers
    in all processes take turns. A crash leaves at worst a blob that nothing refers to.
    ``keeps_unused`` leaves the blobs of a model that is replaced.
    """

    def __init__(
        self,
        root: Path,
        search: tuple[Path, ...] = (),
        *,
        bundled: Path | None = None,
        hub_cache: Path | None = None,
        keeps_unused: bool = False,
        lock_timeout: float = 30.0,
    ) -> None:
        self.root = root
        self.search = search
        self.bundled = bundled
        self.hub_cache = hub_cache
        self.manifests = Manifests(root / "manifests")
        own = root / ".cama"
        self.blobs = Blobs(root / "blobs", links=own / "links", pins=own / "pins")
        self._keeps_unused = keeps_unused
        self._lock_timeout = lock_timeout
        # Blobs are named after their content, so what a manifest stands for never changes.
        self._contents = lru_cache(maxsize=256)(partial(read_contents, self.blobs))

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The store that a user with these settings has."""
        return cls(
            settings.models,
            settings.model_path,
            bundled=BUNDLED,
            hub_cache=settings.hf_cache,
            keeps_unused=settings.no_prune,
        )

    def list(self) -> list[StoredModel]:
        """All models that can run here, newest first; a damaged one is skipped with a warning."""
        with storing(self.root):
            names = list(self.manifests.names())
            ours = list(bundled(self.bundled))
        found = [model for name in names if (model := self._try_load(name)) is not None]
        taken = {model.name.lower() for model in found}
        found += [model for model in ours if model.name.lower() not in taken]
        return sorted(found, key=lambda model: (-model.modified_at.timestamp(), model.name))

    def get(self, name: str) -> StoredModel:
        """The model of that name, or the GGUF file at that path or of that name in ``search``.

        Raises InvalidModelName, ModelNotFound, InvalidModelFile, UnsupportedModel, StoreError.
        """
        with storing(self.root):
            if is_explicit_path(name):
                return open_file(name, Path(name))
            file = find_file(name, self.search)
            existing = self._find(name, must_parse=file is None)
            if existing is not None:
                return self._load(existing, check=True)
            if file is not None:
                return open_file(name, file)
            if (cached := find_cached(name, self.hub_cache)) is not None:
                return cached
            if (ours := find_bundled(name, self.bundled)) is not None:
                return ours
        raise _not_found(name)

    def adapters(self, name: str) -> tuple[Adapter, ...]:
        """Those of a model in the store; what only a path or a folder of ``search`` has is none.

        Raises InvalidModelName, ModelNotFound, InvalidModelFile, UnsupportedModel, StoreError, and
        Unsupported for a bundled model.
        """
        with storing(self.root):
            return self._load(self._existing(name), check=True).adapters

    def manifest(self, name: str) -> tuple[ModelName, Manifest]:
        """The existing spelling of a name, and its manifest.

        Raises InvalidModelName, ModelNotFound, InvalidModelFile, StoreError.
        """
        with storing(self.root):
            existing = self._existing(name)
            try:
                data = self.manifests.read(existing)
            except FileNotFoundError:  # deleted since it was found
                raise _not_found(existing.short) from None
            return existing, Manifest.from_bytes(data, str(self.manifests.path(existing)))

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name, which may replace another model's.

        Raises InvalidModelName, ModelNotFound, InvalidModelFile, StoreError.
        """
        with storing(self.root):
            self._existing(source)
            wanted = ModelName.parse(destination)
            with self._locked():
                old = self._existing(source)
                new = self.manifests.spell(wanted)
                if new != old:
                    data = self.manifests.read(old)
                    Manifest.from_bytes(data, str(self.manifests.path(old)))
                    self._write(new, data)

    def delete(self, name: str) -> None:
        """Remove a name, and the blobs that no other model uses.

        Raises InvalidModelName, ModelNotFound, StoreError.
        """
        with storing(self.root):
            self._existing(name)
            with self._locked():
                existing = self._existing(name)
                before = self._digests(existing)
                self.manifests.remove(existing)
                self._prune(before)

    def rename_old(self) -> None:
        """Give blobs with names of the oldest stores those of today. Raises StoreError."""
        with storing(self.root):
            if any(":" in path.name for path in entries(self.blobs.folder)):
                with self._locked():
                    rename_old(self.blobs)

    def prune(self) -> Pruned:
        """Remove what nothing has referred to for a while, as a server does when it starts.

        Raises InvalidModelFile when a manifest cannot be read: then nothing is removed. StoreError.
        """
        if not self.root.is_dir():
            return Pruned()
        with storing(self.root), self._locked():
            return prune(self.manifests, self.blobs)

    def examine(
        self, progress: Progress = lambda n_bytes: None, *, reads_blobs: bool = True
    ) -> Examination:
        """Look for what is damaged, missing or left over; changes nothing. Raises StoreError."""
        with storing(self.root):
            return examine(self.manifests, self.blobs, progress, reads_blobs=reads_blobs)

    def mend(self, findings: Iterable[Finding]) -> builtins.list[Finding]:
        """Mend what :meth:`examine` found; returns what is mended. Raises StoreError."""
        with storing(self.root), self._locked():
            return [*mend(self.manifests, self.blobs, self.root, findings)]

    def staging(self) -> Staging:
        """A context in which new blobs are collected for :meth:`publish` or :meth:`add_blobs`."""
        return Staging(self.blobs, self._locked)

    def turn(self, digest: str) -> Path:
        """The lock file of whoever is fetching a blob: see :func:`cama.store.turns.turn`."""
        return self.root / ".cama" / "turns" / blob_name(digest)

    def add_blobs(self, staging: Staging) -> None:
        """Put staged blobs into the store without a model. Raises StoreError."""
        with storing(self.root), self._locked():
            sweep(self.blobs)
            staging.place()

    def publish(
        self, name: str, manifest: Manifest, staging: Staging, *, verbatim: bytes | None = None
    ) -> int:
        """Put staged blobs and the manifest that needs them into the store, all or nothing.

        ``verbatim`` is the manifest as it came from elsewhere, which is kept byte for byte. Blobs
        of a model that had this name go when no other model uses them; returns how many went.
        Raises InvalidModelName, InvalidModelFile when a blob is missing or a small one damaged,
        and StoreError.
        """
        data = manifest.to_bytes() if verbatim is None else verbatim
        wanted = ModelName.parse(name)
        with storing(self.root), self._locked():
            try:
                sweep(self.blobs)
                staging.place()
                for layer in manifest.blobs:
                    self.blobs.locate(layer)
                self._contents(data, f"the manifest of {wanted.short}")
                return self._write(self.manifests.spell(wanted), data)
            except (CamaError, OSError):
                self._prune(staged.digest for staged in staging.staged if not staged.existed)
                raise

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.root / ".cama" / "lock", self._lock_timeout)

    def _find(self, name: str, *, must_parse: bool = True) -> ModelName | None:
        try:
            parsed = ModelName.parse(name)
        except CamaError:
            if must_parse:
                raise
            return None
        return self.manifests.find(parsed)

    def _existing(self, name: str) -> ModelName:
        existing = self._find(name)
        if existing is None:
            if (ours := find_bundled(name, self.bundled)) is not None:
                raise Unsupported(_BUNDLED.format(ours.name), name=ours.name)
            raise _not_found(name)
        return existing

    def _load(self, name: ModelName, *, check: bool) -> StoredModel:
        """The model of a manifest, read again when that was replaced meanwhile."""
        path = self.manifests.path(name)
        for _ in range(_TRIES):
            try:
                status, data = path.stat(), self.manifests.read(name)
            except FileNotFoundError:  # deleted since it was found
                raise _not_found(name.short) from None
            try:
                return self._model(name, data, status.st_mtime, check=check)
            except InvalidModelFile:
                if _looks(path, mark_of(status)):
                    raise
        raise StoreError(f"{name.short} is being changed all the time", path=str(path))

    def _model(self, name: ModelName, data: bytes, mtime: float, *, check: bool) -> StoredModel:
        contents: Contents = self._contents(data, str(self.manifests.path(name)))
        digest = hashlib.sha256(data).hexdigest()
        model = stored_model(name, digest, mtime, contents, self.blobs)
        for layer in contents.manifest.of_type(*LARGE) if check else ():
            self.blobs.locate(layer)
        return model

    def _try_load(self, name: ModelName) -> StoredModel | None:
        try:
            with storing(self.manifests.path(name)):
                return self._load(name, check=False)
        except UnsupportedModel as error:
            _log.debug("not listed: %s", error.message)
        except CamaError as error:
            _log.warning("skipping model %s: %s", name.short, error.message)
        return None

    def _write(self, name: ModelName, data: bytes) -> int:
        """Returns how many blobs of the manifest that was there are gone."""
        before = frozenset[str]() if self._keeps_unused else self._digests(name)
        self.manifests.write(name, data)
        return self._prune(before)

    def _digests(self, name: ModelName) -> frozenset[str]:
        """What a manifest refers to; nothing when there is none or it cannot be read."""
        path = self.manifests.path(name)
        try:
            return Manifest.from_bytes(self.manifests.read(name), str(path)).digests
        except FileNotFoundError:
            return frozenset()
        except (CamaError, OSError) as error:
            _log.warning("its blobs stay: %s", error)
            return frozenset()

    def _prune(self, digests: Iterable[str]) -> int:
        """Remove those of ``digests`` that nothing refers to; returns how many that were."""
        return remove_unused(self.manifests, self.blobs, digests)


def _looks(path: Path, mark: tuple[int, ...]) -> bool:
    """Whether a file is still the one that looked so."""
    try:
        return mark_of(path.stat()) == mark
    except FileNotFoundError:
        return False


def _not_found(name: str) -> ModelNotFound:
    return ModelNotFound(f"model '{name}' not found", name=name)
