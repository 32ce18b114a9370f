"""One blob over several connections, hashed while it comes."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from cama.core.errors import InvalidModelFile, RegistryError, RegistryUnreachable
from cama.registry.patience import Patience
from cama.registry.web import CHUNK_BYTES
from cama.store.partials import Part, Partial

STREAMS = 16
"""Connections at the same time, as Ollama has."""

REPORT_SECONDS = 0.06

_NOTE_BYTES = 16 << 20
"""After so many bytes of a part it is written down how far it is: what a crash costs at most."""

_PROGRESS_BYTES = 1 << 20
"""A try that brought so much is no failure, so that failing connections still get there."""

_HASH_BYTES = 4 << 20
_HASH_PAUSE = 0.01


class Body(Protocol):
    """Bytes of a blob; ``start`` is the position of the first."""

    start: int

    def some(self, limit: int) -> bytes: ...


class Source(Protocol):
    """Where a blob is fetched from."""

    def open(self, start: int, stop: int) -> AbstractContextManager[Body]:
        """Bytes from ``start`` to before ``stop``, or the whole blob where ranges are not known.

        Raises RegistryUnreachable for what may pass (``retry_after`` seconds in its fields), and
        RegistryError. Threads call it at the same time.
        """
        ...


class _NoRanges(RegistryError):
    """The source sends whole blobs only."""

    code = "no_ranges"


def download(
    partial: Partial,
    digest: str,
    source: Source,
    patience: Patience,
    report: Callable[[int], None],
) -> None:
    """Complete ``partial`` from ``source``; ``report`` is told how many bytes are there.

    Raises RegistryError, Cancelled, OSError: what has come is kept. InvalidModelFile when the
    digest is another: nothing is kept.
    """
    for _ in range(patience.tries):
        try:
            found = _Download(partial, source, patience).run(report)
        except _NoRanges:
            partial.restart([Part(0, 0, partial.size)])
        else:
            break
    else:
        raise RegistryError("max retries exceeded: the whole blob never came at once")
    if found != digest:
        partial.remove()
        raise InvalidModelFile(
            f"digest mismatch, file must be downloaded again: want {digest}, got {found}",
            path=str(partial.path),
            field="digest",
        )


class _Download:
    """Threads that fetch parts, one that hashes behind them, and the caller's that waits."""

    def __init__(self, partial: Partial, source: Source, patience: Patience) -> None:
        self._partial = partial
        self._source = source
        self._patience = patience
        self._waiting = deque(part for part in partial.parts if not part.is_complete)
        self._ended = threading.Event()
        self._failures: list[Exception] = []
        self._hash = hashlib.sha256()

    def run(self, report: Callable[[int], None]) -> str:
        """The digest of what has come."""
        jobs = [self._fetch] * min(STREAMS, len(self._waiting)) + [self._follow]
        threads = [threading.Thread(target=self._guard, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                self._wait(thread, report)
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()
        self._patience.check()
        if self._failures:
            raise self._failures[0]
        return f"sha256:{self._hash.hexdigest()}"

    def _wait(self, thread: threading.Thread, report: Callable[[int], None]) -> None:
        while thread.is_alive():
            thread.join(REPORT_SECONDS)
            report(self._partial.completed)
            self._patience.check()

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            self._failures.append(error)
            self._ended.set()

    def _fetch(self) -> None:
        while not self._ended.is_set():
            try:
                part = self._waiting.popleft()
            except IndexError:
                return
            self._complete(part)

    def _complete(self, part: Part) -> None:
        n_failures = 0
        while not (part.is_complete or self._ended.is_set()):
            before = part.completed
            try:
                self._continue(part)
            except RegistryUnreachable as error:
                n_failures = 1 if part.completed - before >= _PROGRESS_BYTES else n_failures + 1
                if n_failures >= self._patience.tries:
                    raise RegistryError(f"max retries exceeded: {error.message}") from error
                self._ended.wait(
                    self._patience.seconds(n_failures, error.fields.get("retry_after", 0.0))
                )
            finally:
                self._partial.note(part)

    def _continue(self, part: Part) -> None:
        """Fetch what is missing of ``part``, as far as one connection brings it."""
        start, stop = part.offset + part.completed, part.offset + part.size
        noted = part.completed
        with self._source.open(start, stop) as body:
            if body.start != start:
                raise _NoRanges("the registry sends whole blobs only")
            while not (part.is_complete or self._ended.is_set()):
                data = body.some(min(CHUNK_BYTES, part.size - part.completed))
                if not data:
                    raise RegistryUnreachable("the connection ended before the data did")
                self._partial.write(part, data)
                if part.completed - noted >= _NOTE_BYTES:
                    self._partial.note(part)
                    noted = part.completed

    def _follow(self) -> None:
        """Hash the bytes in their order, as soon as there is no gap before them."""
        view = memoryview(bytearray(_HASH_BYTES))
        position, parts = 0, deque(self._partial.parts)
        while position < self._partial.size:
            while parts and parts[0].is_complete:
                parts.popleft()
            end = parts[0].offset + parts[0].completed if parts else self._partial.size
            if end == position:
                if self._ended.wait(_HASH_PAUSE):
                    return
                continue
            wanted = view[: min(end - position, _HASH_BYTES)]
            n_bytes = os.preadv(self._partial.descriptor, [wanted], position)
            if n_bytes == 0:
                raise OSError(f"{self._partial.path} was cut by somebody else")
            self._hash.update(view[:n_bytes])
            position += n_bytes
