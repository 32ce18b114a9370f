"""Where connections may go: a registry on the internet sends nobody into a private network."""

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from cama.core.errors import RegistryError, RegistryUnreachable

_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet: not private, loopback, link-local, reserved."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and (inner := _embedded(ip)) is not None:
        ip = inner
    return ip.is_global and not ip.is_multicast


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address of a transition mechanism leads to."""
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of ``host``. Raises RegistryUnreachable."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RegistryUnreachable(f"lookup {host}: {reason}", host=host) from error
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Dialer:
    """Opens connections for the sake of ``home``, a registry.

    Other hosts must have public addresses, unless the registry itself has none. What is checked is
    the address that is then connected to, so that a name cannot mean two things.
    """

    def __init__(self, home: str) -> None:
        self._home = home.lower()
        self._is_private: bool | None = None

    def allowed(self, host: str, port: int) -> list[str]:
        """Addresses of ``host``. Raises RegistryError where one is out of bounds."""
        found = resolve(host, port)
        if host.lower() == self._home:
            self._is_private = not all(map(is_public, found))
        elif not self._home_is_private(port):
            for address in found:
                self._refuse_private(host, address)
        return found

    def dial(self, host: str, port: int, seconds: float | None) -> socket.socket:
        """A connection to ``host``. Raises RegistryError, and OSError as connecting does."""
        failure: OSError | None = None
        for address in self.allowed(host, port):
            try:
                connection = socket.create_connection((address, port), seconds)
            except OSError as error:
                failure = error
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        raise failure or OSError(f"{host} has no address")

    def _home_is_private(self, port: int) -> bool:
        if self._is_private is None:
            with suppress(RegistryUnreachable):  # known to a proxy only
                self._is_private = not all(map(is_public, resolve(self._home, port)))
        return bool(self._is_private)

    def _refuse_private(self, host: str, address: str) -> None:
        if not is_public(address):
            raise RegistryError(
                f"{self._home} sends us to {host}, which is at the private address {address}",
                host=host,
            )
