"""The host check: a page that had its own name point to this machine must not reach the API.

Ollama checks on loopback addresses alone. Here a server without API keys that listens on others
checks too: there any address will do, and any name without a dot, which no page can have.
"""

import ipaddress
import socket
from collections.abc import Callable
from functools import cache

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cama.api.cors import Origins
from cama.api.problems import Forbidden, refuse
from cama.core.errors import CamaError, InvalidRequest

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")


def is_loopback(host: str) -> bool:
    """Whether a server that listens on ``host`` is reached from this machine alone."""
    address = _address(host)
    return address.is_loopback if address else host.lower() == "localhost"


def is_local_name(host: str, hostname: Callable[[], str] = socket.gethostname) -> bool:
    """Whether ``host``, without a port, is a name that only this network can have given."""
    lower = host.lower()
    return lower in ("", "localhost", hostname().lower()) or lower.endswith(_LOCAL_SUFFIXES)


def is_local_address(host: str) -> bool:
    """Whether ``host`` is an address of this machine or of a private network."""
    address = _address(host)
    if address is None:
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    is_private = any(address in network for network in _PRIVATE)
    return is_private or address in _interfaces()


def without_port(host: str) -> str:
    """``host`` of a Host header: ``name:port``, ``[v6]:port``, or either without a port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@cache
def _interfaces() -> frozenset[_Address]:
    import psutil  # rarely needed, and slow to import

    texts = [a.address for addresses in psutil.net_if_addrs().values() for a in addresses]
    found = (_address(text.partition("%")[0]) for text in texts)
    return frozenset(address for address in found if address)


class HostCheck:
    """Answers 403 when the Host header names somewhere else.

    ``origins`` are pages that may call, from wherever they come. ``is_open`` says that the server
    is meant to be reached from other machines.
    """

    def __init__(self, app: ASGIApp, origins: Origins, *, is_open: bool) -> None:
        self._app = app
        self._origins = origins
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host") or [""]
        host = without_port(hosts[0])
        if len(hosts) > 1:
            error: CamaError = InvalidRequest("there is more than one Host header")
            await refuse(scope, receive, send, error)
        elif scope["method"] == "OPTIONS" and is_local_name(host):
            await Response(status_code=204)(scope, receive, send)
        elif self._knows(host) or self._origins.know(hosts[0]):
            await self._app(scope, receive, send)
        else:
            error = Forbidden(f"the host {host:.200} is not known: list its origin in CAMA_ORIGINS")
            await refuse(scope, receive, send, error)

    def _knows(self, host: str) -> bool:
        if is_local_name(host) or is_local_address(host):
            return True
        return self._is_open and (_address(host) is not None or "." not in host)
