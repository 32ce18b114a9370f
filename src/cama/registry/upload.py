"""One blob to a registry, in parts of which a broken one is continued where the registry has it."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlencode, urljoin

from cama.core.errors import InvalidModelName, RegistryError, RegistryUnreachable
from cama.registry.patience import Patience
from cama.registry.repository import Repository, check
from cama.registry.web import CHUNK_BYTES, Answer
from cama.store.manifest import Layer
from cama.store.names import ModelName

_N_PARTS = 16
_MIN_PART_BYTES = 100_000_000
_MAX_PART_BYTES = 1_000_000_000
_STORED = re.compile(r"(?:bytes=)?0-(\d{1,19})")

Say = Callable[[int], None]


class Upload:
    """Sends the file of ``layer`` to ``repository``; ``say`` is told how many bytes it has.

    Methods raise RegistryUnreachable for what may pass, RegistryError, Cancelled and OSError.
    """

    def __init__(self, repository: Repository, layer: Layer, path: Path, say: Say) -> None:
        self._repository = repository
        self._patience: Patience = repository.web.patience
        self._layer = layer
        self._path = path
        self._say = say

    def run(self) -> None:
        """Send the blob, unless the registry has it or can take it from where it came from."""
        if self._exists():
            self._say(self._layer.size)
            return
        self._patience.persist(self._session)

    def _exists(self) -> bool:
        url = f"{self._repository.base}/blobs/{self._layer.digest}"

        def ask() -> bool:
            with self._repository.ask("HEAD", url, {}) as answer:
                if answer.status == 404:
                    return False
                check(answer)
                return True

        return self._patience.persist(ask)

    def _session(self) -> None:
        location = self._begin()
        if location is None:
            self._say(self._layer.size)
            return
        md5s: list[bytes] = []
        with self._path.open("rb") as file:
            for start, stop in _parts(self._layer.size):
                part = _Part(file, start, stop, self._patience, self._say)
                location = self._send(location, part)
                md5s.append(part.md5)
        self._commit(location, md5s)

    def _begin(self) -> str | None:
        """Where the first part goes; None when the registry has mounted the blob."""
        url = f"{self._repository.base}/blobs/uploads/"
        if (origin := _origin(self._layer, self._repository.name)) is not None:
            url += "?" + urlencode({"mount": self._layer.digest, "from": origin})
        with self._repository.send("POST", url, {"Content-Length": "0"}) as answer:
            check(answer)
            return None if answer.status == 201 else _next(answer)

    def _send(self, location: str, part: "_Part") -> str:
        """Send a part; returns where the next one goes."""
        for n_failures in range(1, self._patience.tries + 1):
            try:
                return self._patch(location, part)
            except RegistryUnreachable as error:
                if n_failures == self._patience.tries:
                    raise RegistryError(f"max retries exceeded: {error.message}") from error
                self._patience.rest(n_failures, error.fields.get("retry_after", 0.0))
                location = self._resume(location, part)
        raise AssertionError("there is at least one try")

    def _patch(self, location: str, part: "_Part") -> str:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(part.stop - part.first),
            "Content-Range": f"{part.first}-{part.stop - 1}",
            "X-Redirect-Uploads": "1",
        }
        with self._repository.send("PATCH", location, headers, part) as answer:
            if answer.status != 307:
                check(answer)
                return _next(answer)
            following, target = _next(answer), urljoin(answer.url, answer.headers["location"])
        self._put(target, part)
        return following

    def _put(self, target: str, part: "_Part") -> None:
        """Send a part to where the registry keeps its bytes; it gets no authorization of ours."""

        def put() -> None:
            headers = {"Content-Length": str(part.stop - part.first)}
            with self._repository.web.send("PUT", target, headers, part) as answer:
                check(answer)

        self._patience.persist(put)

    def _resume(self, location: str, part: "_Part") -> str:
        """Ask how far a session is, and go on there. A session that is gone begins again."""
        with self._repository.ask("GET", location, {}) as answer:
            found = _STORED.fullmatch(answer.headers.get("range", ""))
            n_bytes = int(found[1]) + 1 if found else 0
            if n_bytes == 1 and part.start == 0:
                n_bytes = 0  # "0-0" is how registries say nothing
            if answer.status != 204 or not part.start <= n_bytes < part.stop:
                raise RegistryUnreachable("the registry has lost the upload")
            part.first = n_bytes
            return _next(answer)

    def _commit(self, location: str, md5s: list[bytes]) -> None:
        etag = hashlib.md5(b"".join(md5s), usedforsecurity=False).hexdigest()
        query = urlencode({"digest": self._layer.digest, "etag": f"{etag}-{len(md5s)}"})
        url = f"{location}{'&' if '?' in location else '?'}{query}"

        with self._repository.send("PUT", url, {"Content-Length": "0"}) as answer:
            check(answer)


class _Part:
    """A file's bytes from ``first`` to before ``stop``, as the body of a request."""

    def __init__(self, file: BinaryIO, start: int, stop: int, patience: Patience, say: Say) -> None:
        self.start = self.first = start
        self.stop = stop
        self._file = file
        self._patience = patience
        self._say = say

    @property
    def md5(self) -> bytes:
        """Of the whole part."""
        digest = hashlib.md5(usedforsecurity=False)
        self._file.seek(self.start)
        left = self.stop - self.start
        while left and (data := self._file.read(min(left, CHUNK_BYTES))):
            digest.update(data)
            left -= len(data)
        return digest.digest()

    def rewind(self) -> None:
        self._file.seek(self.first)

    def read(self, limit: int, /) -> bytes:
        self._patience.check()
        position = self._file.tell()
        data = self._file.read(min(limit, self.stop - position))
        self._say(position + len(data))
        return data


def _parts(size: int) -> Iterator[tuple[int, int]]:
    """Where parts begin and end: sixteen, unless they would be very small or very large."""
    step = min(max(size // _N_PARTS, _MIN_PART_BYTES), _MAX_PART_BYTES)
    return ((start, min(start + step, size)) for start in range(0, size, step))


def _next(answer: Answer) -> str:
    location = answer.headers.get("docker-upload-location") or answer.headers.get("location")
    if not location:
        raise RegistryError("the registry does not say where an upload goes on")
    return urljoin(answer.url, location)


def _origin(layer: Layer, name: ModelName) -> str | None:
    """The repository of the same registry that a layer comes from, as far as that is known."""
    try:
        parent = ModelName.parse(layer.parent)
    except InvalidModelName:
        return None
    return f"{parent.namespace}/{parent.model}" if parent.host == name.host else None
