"""Prefixes that took long to compute, kept on disk: they outlive eviction, unload and restart."""

import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from cama import __version__
from cama.core.load import LoadOptions, PrefixFolder
from cama.engine.base import EngineInfo
from cama.engine.prefix_file import TEMPORARY, Damaged, Header, read, read_header, write
from cama.engine.radix import Key, RadixTree, Tokens
from cama.ggml._abi import LLAMA_CPP_PYTHON_VERSION

_logger = logging.getLogger(__name__)

_SUFFIX = ".prefix"

_GROWTH = 0.5
"""A prefix that a file covers in part is saved when so much is new, as a share of what is covered.

The files of a growing conversation then add up to three times its size, not to its square, and at
most a third of it is computed again. Older files age away.
"""

_BYTES_PER_SECOND = 500e6
"""What reading, verifying and copying a state is expected to do; below, computing is faster."""

_STALE_SECONDS = 3600.0
"""A file that has been in the making for so long was left behind by a process that died."""

_MAX_KEY = 4096
_MAX_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Saved:
    """A prefix on disk; its file may be gone or damaged by the time it is read."""

    name: str
    key: Key
    n_tokens: int
    n_bytes: int
    seconds_per_token: float


def identity(path: Path, info: EngineInfo, load: LoadOptions) -> str:
    """Names what a state of this model depends on besides the tokens, in hexadecimal.

    A file is known by path, size and times: the change time moves also where the others are forged.
    The context counts because some models scale their positions by it.
    """
    statuses = [(part.resolve(), part.stat()) for part in load.parts or (path,)]
    files = [(str(p), s.st_size, s.st_mtime_ns, s.st_ctime_ns) for p, s in statuses]
    facts = (
        files, info.engine, info.architecture, info.n_ctx, info.n_cells, info.devices,
        load.cache_type, load.n_gpu_layers, LLAMA_CPP_PYTHON_VERSION, __version__, sys.byteorder,
    )  # fmt: skip
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


class PrefixStore:
    """A bounded folder of saved prefixes, which runners share.

    What is found and wanted is decided from an index in memory; files are read and written by
    threads of their own. A file that is damaged or not ours is deleted and never used. When the
    folder cannot be written, saving ends with one line in the log.
    """

    def __init__(self, folder: PrefixFolder, identity: str) -> None:
        self._folder = folder.path
        self._max_bytes = folder.max_bytes
        self._min_seconds = folder.min_seconds
        self._identity = identity
        self._lock = threading.Lock()  # guards the two below
        self._tree: RadixTree[str] = RadixTree()
        self._saved: dict[str, Saved] = {}
        self._seen_at = 0  # time of the folder's last change that the index knows, ns
        self._is_saving = False
        self._is_disabled = False
        self._too_long = sys.maxsize  # tokens
        self._reader = ThreadPoolExecutor(1, "prefix-reader")
        self._writer = ThreadPoolExecutor(1, "prefix-writer", initializer=_give_precedence)
        self._refresh()

    # The engine thread

    def find(
        self, key: Key, tokens: Tokens, n_cached: int, *, ends_only: bool
    ) -> tuple[Saved, int] | None:
        """The file that spares most of ``tokens`` behind the first ``n_cached``, and their number.

        None when there is none that pays. ``ends_only``: the engine cannot use a part of a state.
        """
        if self._changed_at() != self._seen_at:
            self._submit(self._reader, self._refresh)
        with self._lock:
            point = self._tree.match(key, tokens[:-1])
            whole = (name for node in point.path() for name in node.ends)
            names = whole if ends_only else point.node.below()
            found = [self._saved[name] for name in islice(names, _MAX_CANDIDATES)]
        lengths = [(min(saved.n_tokens, point.length), saved) for saved in found]
        if not lengths:
            return None
        length, saved = max(lengths, key=lambda pair: (pair[0], -pair[1].n_bytes))
        computing = (length - n_cached) * saved.seconds_per_token
        return (saved, length) if computing > saved.n_bytes / _BYTES_PER_SECOND else None

    def read(self, saved: Saved, then: Callable[[bytes | None], None]) -> None:
        """Give ``then``, on another thread, the state of ``saved``, or None if it is no good."""

        def job() -> None:
            state = None
            try:
                state = self._read(saved)
            finally:
                then(state)

        self._submit(self._reader, job)

    def wants(self, key: Key, tokens: Tokens, seconds_per_token: float) -> bool:
        """Whether ``tokens`` are worth a file: most of what it spares is in no other one."""
        if self._is_disabled or self._is_saving or len(tokens) >= self._too_long:
            return False
        with self._lock:
            n_covered = self._tree.match(key, tokens).length
        n_new = len(tokens) - n_covered
        is_worth = n_new * seconds_per_token >= self._min_seconds and n_new > _GROWTH * n_covered
        return is_worth and sum(map(len, key)) <= _MAX_KEY

    def save(self, key: Key, tokens: Tokens, state: bytes, seconds_per_token: float) -> None:
        """Write a file in the background; one at a time, others are refused by ``wants``."""
        if len(state) > self._max_bytes:
            self._too_long = len(tokens)
            return
        header = Header(
            identity=self._identity, adapter=key[0], tenant=key[1], n_tokens=len(tokens),
            n_bytes=len(state), seconds_per_token=float(seconds_per_token),
        )  # fmt: skip
        self._is_saving = True
        self._submit(self._writer, partial(self._write, header, tokens, state))

    def reject(self, saved: Saved, reason: str) -> None:
        """Delete a file that cannot be used, and say so."""
        _logger.warning("deleted the saved prefix %s: %s", saved.name, reason)
        self._delete(saved.name)

    def close(self) -> None:
        """Finish what is being written."""
        self._reader.shutdown(cancel_futures=True)
        self._writer.shutdown()

    # Other threads

    @staticmethod
    def _submit(executor: ThreadPoolExecutor, job: Callable[[], None]) -> None:
        executor.submit(job).add_done_callback(_report)

    def _read(self, saved: Saved) -> bytes | None:
        path = self._folder / saved.name
        try:
            header, tokens, state = read(path)
            if saved.name != _name(header, tokens):
                raise Damaged("it is another one than its name says")
            os.utime(path)  # the access time of the file system may be off, or coarse
        except FileNotFoundError:  # another runner made room
            self._forget(saved.name)
        except (OSError, Damaged) as error:
            self.reject(saved, str(error))
        else:
            return state
        return None

    def _write(self, header: Header, tokens: Tokens, state: bytes) -> None:
        try:
            write(self._folder / _name(header, tokens), header, tokens, state)
            self._make_room()
            self._refresh()
        except OSError as error:
            self._is_disabled = True
            _logger.warning("prefixes are not saved any more: %s", error)
        finally:
            self._is_saving = False

    def _make_room(self) -> None:
        """Delete what was used least recently until the folder keeps to its bound."""
        found = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another runner makes room, too
                found.append((entry.stat(follow_symlinks=False), entry.name))
        now = time.time()
        for status, name in found:
            if name.startswith(TEMPORARY) and status.st_mtime < now - _STALE_SECONDS:
                self._delete(name)
        files = [(s.st_mtime_ns, s.st_size, name) for s, name in found if name.endswith(_SUFFIX)]
        excess = sum(size for _, size, _ in files) - self._max_bytes
        for _, size, name in sorted(files):
            if excess <= 0:
                return
            self._delete(name)
            excess -= size

    def _refresh(self) -> None:
        """Bring the index up to date with the folder, which other runners change too."""
        self._seen_at = self._changed_at()
        try:
            names = {e.name for e in os.scandir(self._folder) if self._is_ours(e.name)}
        except OSError:  # it does not exist yet
            names = set()
        with self._lock:
            gone = self._saved.keys() - names
            new = names - self._saved.keys()
        for name in gone:
            self._forget(name)
        for name in new:
            self._add(name)

    def _add(self, name: str) -> None:
        try:
            header, tokens = read_header(self._folder / name)
            if name != _name(header, tokens):
                raise Damaged("it is another one than its name says")
        except FileNotFoundError:
            return
        except (OSError, Damaged) as error:
            _logger.warning("deleted the saved prefix %s: %s", name, error)
            self._delete(name)
            return
        saved = Saved(name, header.key, header.n_tokens, header.n_bytes, header.seconds_per_token)
        with self._lock:
            if name not in self._saved:
                self._saved[name] = saved
                self._tree.add(header.key, tokens, name)

    def _delete(self, name: str) -> None:
        with suppress(OSError):
            (self._folder / name).unlink()
        self._forget(name)

    def _forget(self, name: str) -> None:
        with self._lock:
            if self._saved.pop(name, None):
                self._tree.remove(name)

    def _is_ours(self, name: str) -> bool:
        return name.startswith(f"{self._identity}-") and name.endswith(_SUFFIX)

    def _changed_at(self) -> int:
        try:
            return os.stat(self._folder).st_mtime_ns
        except OSError:
            return 0


def _name(header: Header, tokens: Tokens) -> str:
    """Equal prefixes have equal names: who saves one again replaces it."""
    text = repr(header.key).encode() + b"\0" + tokens.tobytes()
    digest = hashlib.blake2b(text, digest_size=16).hexdigest()
    return f"{header.identity}-{digest}{_SUFFIX}"


def _report(job: "Future[None]") -> None:
    """A bug shall not be lost in a thread of a pool."""
    if not job.cancelled() and (error := job.exception()) is not None:
        _logger.error("work on a saved prefix failed", exc_info=error)


def _give_precedence() -> None:
    """Let everything else on this thread's processor go first."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
