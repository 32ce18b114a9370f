"""A blob into the store: there already, being fetched by somebody else, or to be fetched."""

import shutil
from pathlib import Path

from cama.core.errors import StoreError
from cama.registry.download import REPORT_SECONDS, Source, download
from cama.registry.patience import Patience
from cama.registry.progress import Report, about_blob
from cama.store.digests import blob_name
from cama.store.partials import Partial, completed, opened
from cama.store.staging import Staging
from cama.store.store import Store
from cama.store.turns import turn

_SPARE_BYTES = 16 << 20
"""What is left free of a disk."""


class Fetcher:
    """Fetches blobs into ``staging`` of ``store``. One of all processes fetches a blob at a time.

    Who waits for it shows how far the other is, and goes on with what is there when that one ends.
    """

    def __init__(self, store: Store, staging: Staging, patience: Patience, report: Report) -> None:
        self._store = store
        self._staging = staging
        self._patience = patience
        self._report = report
        self._folder = store.blobs.folder

    def fetch(self, digest: str, size: int, source: Source) -> None:
        """Put a blob into the store, where it stays until the staging is left.

        Raises RegistryError, InvalidModelFile, StoreError, Cancelled, OSError.
        """
        if self._is_there(digest, size):
            return

        def wait() -> None:
            self._say(digest, size, min(completed(self._folder, digest), size))
            self._patience.stop.wait(REPORT_SECONDS)
            self._patience.check()

        self._staging.pin(f"{blob_name(digest)}-partial")
        with turn(self._store.turn(digest), wait):
            if self._is_there(digest, size):  # somebody else was faster
                return
            with opened(self._folder, digest, size) as partial:
                self._pin(partial)
                self._complete(partial, digest, source)

    def _complete(self, partial: Partial, digest: str, source: Source) -> None:
        check_space(self._folder, partial.size - partial.completed)
        size = partial.size
        download(
            partial,
            digest,
            source,
            self._patience,
            lambda n_bytes: self._say(digest, size, n_bytes),
        )
        self._staging.take(partial.path, digest)
        self._store.add_blobs(self._staging)
        partial.forget_notes()
        self._say(digest, size, size)

    def _is_there(self, digest: str, size: int) -> bool:
        if self._staging.find(digest, size) is None:
            return False
        self._say(digest, size, size)
        return True

    def _pin(self, partial: Partial) -> None:
        for part in partial.parts:
            self._staging.pin(f"{partial.path.name}-{part.number}")

    def _say(self, digest: str, size: int, n_bytes: int) -> None:
        self._report(about_blob("pulling", digest, size, n_bytes))


def check_space(folder: Path, n_bytes: int) -> None:
    """Raise StoreError when the disk of ``folder`` has no room for so many bytes more."""
    free = shutil.disk_usage(folder).free
    if n_bytes + _SPARE_BYTES > free:
        raise StoreError(
            f"no space left for {n_bytes} bytes more: {free} are free below {folder}",
            path=str(folder),
        )
