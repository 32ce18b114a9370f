"""One HTTP exchange with the server, over the standard library.

Importing httpx takes about 125 ms, which every command would pay; ``http.client`` takes 35 ms. A
command sends one request at a time, so that there is nothing to pool. The environment's proxies are
not used: the server is on this machine, or on its network.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cama import __version__
from cama.client.problems import problem
from cama.core.errors import CamaError, ServerUnavailable

_CONNECT_SECONDS = 5.0
_MAX_BYTES = 256 * 2**20
"""The longest answer, or line of a streamed one, that is read."""


class Transport:
    """Sends requests to one server. A connection lives as long as its request.

    Leaving a stream early closes the connection, by which the server knows to cancel the work.
    """

    def __init__(self, base_url: str, key: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        self._parts = urlsplit(self.base_url)
        self._headers = {"User-Agent": f"cama/{__version__}", "Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    @contextmanager
    def exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float | None
    ) -> Iterator[HTTPResponse]:
        """Send a request; the body yields the answer, of whatever status.

        ``seconds`` limits each wait for the server; None waits as long as it works.
        """
        connection = self._connect(seconds)
        response: HTTPResponse | None = None
        try:
            response = self._send(connection, method, path, body)
            yield response
        finally:
            if response is not None:
                response.close()
            connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> bytes:
        """The whole answer to a request. Raises what :func:`problem` makes of a refusal."""
        with self.exchange(method, path, body, seconds) as response:
            return _success(response)

    def upload(self, path: str, content: Iterable[bytes], n_bytes: int) -> None:
        """Send ``n_bytes`` of content piece by piece. Raises as :meth:`request` does."""
        connection = self._connect(None)
        try:
            kind = {"Content-Type": "application/octet-stream", "Content-Length": str(n_bytes)}
            connection.request("POST", self._parts.path + path, content, self._headers | kind)
            with connection.getresponse() as response:
                _success(response)
        except (OSError, HTTPException) as error:
            raise _broken(error) from error
        finally:
            connection.close()

    def stream(self, path: str, body: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The objects of a streamed answer as they come; a line with an error raises it."""
        with self.exchange("POST", path, body, None) as response:
            if response.status >= 300:
                error = problem(response.status, response.reason, _read(response))
                error.fields["status_line"] = f"{response.status} {response.reason}".rstrip()
                raise error
            yield from map(_event, _lines(response))

    def _connect(self, seconds: float | None) -> HTTPConnection:
        try:
            connection = _connection(self._parts)
            connection.connect()
        except (OSError, HTTPException, ValueError) as error:
            raise ServerUnavailable(f"no server answers at {self.base_url}: {error}") from error
        connection.sock.settimeout(seconds)
        return connection

    def _send(
        self,
        connection: HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
    ) -> HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, self._parts.path + path, data, self._headers)
            return connection.getresponse()
        except (OSError, HTTPException) as error:
            raise _broken(error) from error


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine and nothing else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _connection(server: SplitResult) -> HTTPConnection:
    kind = HTTPSConnection if server.scheme == "https" else HTTPConnection
    return kind(server.hostname or "", server.port, timeout=_CONNECT_SECONDS)


def _success(response: HTTPResponse) -> bytes:
    body = _read(response)
    if response.status >= 300:
        raise problem(response.status, response.reason, body)
    return body


def _read(response: HTTPResponse) -> bytes:
    try:
        body = response.read(_MAX_BYTES + 1)
    except (OSError, HTTPException) as error:
        raise _broken(error) from error
    _check_length(len(body))
    return body


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    """The lines of an answer as they come.

    Not by ``readline``, which takes a connection that broke for the end of the answer.
    """
    parts: list[bytes] = []
    n_bytes = 0
    while piece := _read_some(response):
        first, *others = piece.split(b"\n")
        parts.append(first)
        for other in others:
            yield b"".join(parts)
            parts, n_bytes = [other], 0
        n_bytes += len(piece)
        _check_length(n_bytes)
    if any(parts):
        yield b"".join(parts)


def _read_some(response: HTTPResponse) -> bytes:
    try:
        return response.read1()
    except (OSError, HTTPException) as error:
        raise _broken(error) from error


def _check_length(n_bytes: int) -> None:
    if n_bytes > _MAX_BYTES:
        raise CamaError(f"the server's answer is longer than {_MAX_BYTES} bytes")


def _broken(error: Exception) -> ServerUnavailable:
    return ServerUnavailable(
        f"the connection to the server broke: {str(error) or type(error).__name__}"
    )


def _event(line: bytes) -> dict[str, Any]:
    event = decode(line)
    if "error" in event:
        raise CamaError(str(event["error"]))
    return event


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``. Raises CamaError for anything else."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise CamaError("the server's answer is not the JSON object that was expected")
    return answer
