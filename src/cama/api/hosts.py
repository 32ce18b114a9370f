"""The host check: a page that had its own name point to this machine must not reach the API."""

import ipaddress
import socket
from collections.abc import Callable
from functools import cache

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

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
    """Answers 403 when the Host header names somewhere else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = without_port(Headers(scope=scope).get("host", ""))
        has_local_name = is_local_name(host)
        if has_local_name and scope["method"] == "OPTIONS":
            await Response(status_code=204)(scope, receive, send)
        elif has_local_name or is_local_address(host):
            await self._app(scope, receive, send)
        else:
            await Response(status_code=403)(scope, receive, send)
