"""A blob of a registry, wherever the registry says that its bytes are."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from cama.core.errors import RegistryError, RegistryUnreachable
from cama.registry.repository import check
from cama.registry.web import Answer, Web

_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class Asks(Protocol):
    """Who is asked for a blob, with whatever authorization that takes."""

    @property
    def web(self) -> Web: ...

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Answer: ...


class Bytes:
    """The body of an answer that holds a blob from ``start`` on."""

    def __init__(self, answer: Answer, start: int) -> None:
        self.start = start
        self._answer = answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._answer.close()

    def some(self, limit: int) -> bytes:
        return self._answer.some(limit)


class BlobSource:
    """Asks the registry once; where it leads to another host, later parts go there directly."""

    def __init__(self, repository: Asks, url: str, size: int) -> None:
        self._repository = repository
        self._url = url
        self._size = size
        self._direct = ""

    def open(self, start: int, stop: int) -> Bytes:
        """Bytes from ``start`` to before ``stop``; see :class:`cama.registry.download.Source`."""
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        direct = self._direct
        if direct:
            answer = self._repository.web.follow("GET", direct, headers, {})
        else:
            answer = self._repository.ask("GET", self._url, headers)
            if urlsplit(answer.url).netloc != urlsplit(self._url).netloc:
                self._direct = answer.url
        try:
            if direct and answer.status in (400, 401, 403, 404, 410):
                self._direct = ""
                raise RegistryUnreachable("the link to the blob has expired")
            check(answer)
            return Bytes(answer, self._first(answer))
        except BaseException:
            answer.close()
            raise

    def _first(self, answer: Answer) -> int:
        """The position of the first byte. Raises RegistryError for a blob of another size."""
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
            if found is None:
                raise RegistryError("the registry does not say which bytes it sends")
            first, total = int(found[1]), found[3]
        else:
            first, total = 0, answer.headers.get("content-length", "*")
        if total.isdecimal() and int(total) != self._size:
            raise RegistryError(
                f"the registry's blob has {total} bytes, where its manifest says {self._size}"
            )
        return first
