"""HTTP with strangers: bounded waits, bounded answers, and nobody's secrets given to others."""

import math
import platform
import ssl
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from ipaddress import ip_address
from socket import socket
from types import TracebackType
from typing import Any, Protocol, Self, cast
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, ReadTimeoutError

from cama import __version__
from cama.core.errors import RegistryError, RegistryUnreachable
from cama.registry.addresses import Dialer
from cama.registry.patience import Patience

CHUNK_BYTES = 1 << 20
USER_AGENT = (
    f"cama/{__version__} ({platform.machine()} {sys.platform}) Python/{platform.python_version()}"
)

_MAX_REDIRECTS = 10
_SHOWN_BYTES = 4096
_SHOWN_LENGTH = 300
_REDIRECTS = (301, 302, 303, 307, 308)
_CONNECTIONS = 16


class Rewindable(Protocol):
    """A body that can be sent more than once."""

    def rewind(self) -> None: ...

    def read(self, limit: int, /) -> bytes: ...


class Answer:
    """A response whose body is read in pieces; leaving it closes it."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self._response = response
        self.url = url
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back if little of the body is left, else close it."""
        if self._left() <= _SHOWN_BYTES:
            self._response.drain_conn()
        self._response.close()
        self._response.release_conn()

    def _left(self) -> float:
        """Bytes of the body that were not read."""
        left = getattr(self._response, "length_remaining", None)
        return math.inf if left is None else left

    def some(self, limit: int) -> bytes:
        """The next bytes, as soon as there are any; none at the end.

        Raises RegistryUnreachable when the body breaks off or stalls.
        """
        try:
            return self._response.read1(limit, decode_content=False)
        except (HTTPError, OSError) as error:
            raise _broken(self.url, error) from error

    def whole(self, limit: int, what: str) -> bytes:
        """A body of at most ``limit`` bytes. Raises RegistryError, which names ``what``."""
        pieces: list[bytes] = []
        n_bytes = 0
        while n_bytes <= limit and (piece := self.some(limit + 1 - n_bytes)):
            pieces.append(piece)
            n_bytes += len(piece)
        if n_bytes > limit:
            raise RegistryError(f"{what} is larger than the {limit} bytes allowed")
        return b"".join(pieces)

    def refusal(self) -> RegistryError:
        """What the answer says, where that is no success: ``<status>: <body>``."""
        with suppress(RegistryError):
            text = self.some(_SHOWN_BYTES).decode(errors="replace")
            shown = "".join(c if c.isprintable() else " " for c in text).strip()[:_SHOWN_LENGTH]
            return RegistryError(f"{self.status}: {shown}", status=self.status)
        return RegistryError(f"{self.status}: ", status=self.status)


class Web:
    """Requests for the sake of the registry ``home`` (``host`` or ``host:port``).

    ``insecure`` uses http, and lets redirects lead there. Proxies are those of the environment.
    Methods raise RegistryUnreachable when no answer comes, and RegistryError when a rule is broken.
    """

    def __init__(self, home: str, patience: Patience, *, insecure: bool = False) -> None:
        self.home = home
        self.patience = patience
        self.insecure = insecure
        self._dialer = Dialer(_host_of(home))
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    @property
    def base(self) -> str:
        return f"{'http' if self.insecure else 'https'}://{self.home}"

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()

    def get(self, url: str, headers: Mapping[str, str], secrets: Mapping[str, str]) -> Answer:
        """GET ``url`` and follow redirects; ``secrets`` are headers for its own host only."""
        return self.follow("GET", url, headers, secrets)

    def follow(
        self, method: str, url: str, headers: Mapping[str, str], secrets: Mapping[str, str]
    ) -> Answer:
        """Send a request without a body; :attr:`Answer.url` is where the redirects have led."""
        origin = _origin(urlsplit(url))
        for _ in range(_MAX_REDIRECTS + 1):
            parts = urlsplit(url)
            given = secrets if _origin(parts) == origin else {}
            answer = self.send(method, url, {**headers, **given})
            target = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not target:
                return answer
            answer.close()
            url = urljoin(url, target)
            self._check_redirect(parts, urlsplit(url))
        raise RegistryError(f"{self.home} redirects more than {_MAX_REDIRECTS} times")

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Rewindable | None = None,
    ) -> Answer:
        """One exchange; a redirect is an answer like any other."""
        self.patience.check()
        if body is not None and not isinstance(body, bytes):
            body.rewind()
        try:
            response = self._pool(url).urlopen(
                method,
                url,
                body=cast(Any, body),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self.patience.connect, read=self.patience.stall),
            )
        except (HTTPError, OSError, ValueError) as error:
            raise _broken(url, error) from error
        answer = Answer(response, url)
        if response.headers.get("content-encoding", "identity") not in ("", "identity"):
            answer.close()
            raise RegistryError(f"{_origin_text(url)} compresses its answer, unasked")
        return answer

    def _check_redirect(self, old: SplitResult, new: SplitResult) -> None:
        if new.scheme not in ("http", "https") or not new.hostname:
            raise RegistryError(f"{self.home} redirects to {new.scheme}:, which is not HTTP")
        if new.scheme == "http" and old.scheme == "https" and not self.insecure:
            raise RegistryError(f"{self.home} redirects from https to http")

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryError(f"not a URL of HTTP: {url[:_SHOWN_LENGTH]}")
        proxy = _proxy_for(parts)
        if proxy is not None:
            # The proxy looks names up for us: what ours do not know is its business alone.
            with suppress(RegistryUnreachable):
                self._dialer.allowed(parts.hostname, parts.port or 443)
        if proxy not in self._pools:
            self._pools[proxy] = self._new_pool(proxy)
        return self._pools[proxy]

    def _new_pool(self, proxy: str | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "maxsize": _CONNECTIONS,
            "ssl_context": self._tls,
            "blocksize": CHUNK_BYTES,
        }
        if proxy is not None:
            return _proxied(proxy, options)
        pool = urllib3.PoolManager(**options)
        pool.pool_classes_by_scheme = _guarded(self._dialer)
        return pool

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _guarded(dialer: Dialer) -> dict[str, type[HTTPConnectionPool]]:
    """Pools whose connections are opened by ``dialer``."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket:
            return _dial(dialer, self)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket:
            return _dial(dialer, self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _dial(dialer: Dialer, connection: HTTPConnection) -> socket:
    seconds = connection.timeout
    return dialer.dial(
        connection.host, connection.port, seconds if isinstance(seconds, float | int) else None
    )


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    parts = urlsplit(proxy)
    if parts.scheme not in ("http", "https"):
        raise RegistryError(f"a proxy of the kind {parts.scheme}: is not supported")
    headers = None
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login)
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)


def _proxy_for(parts: SplitResult) -> str | None:
    """The proxy that the environment names for a URL; this machine is never behind one."""
    host = parts.hostname or ""
    if _is_loopback(host) or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_of(home: str) -> str:
    return urlsplit(f"//{home}").hostname or ""


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    """Who a URL's secrets are for. Raises RegistryError on a port that is none."""
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise RegistryError(f"{parts.netloc}: {error}") from None
    return parts.scheme, (parts.hostname or "").lower(), port


def is_same_origin(url: str, other: str) -> bool:
    """Whether what is secret for ``other`` may go to ``url``."""
    return _origin(urlsplit(url)) == _origin(urlsplit(other))


def _origin_text(url: str) -> str:
    """A URL without its path, which may be a secret of its own."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _broken(url: str, error: Exception) -> RegistryUnreachable:
    """The network's error in one line."""
    where = _origin_text(url)
    if isinstance(error, ReadTimeoutError):
        return RegistryUnreachable(f"{where}: no data came for too long", host=where)
    inner = next((one for one in error.args if isinstance(one, Exception)), error)
    reason = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return RegistryUnreachable(f"{where}: {' '.join(str(reason).split())[:200]}", host=where)
