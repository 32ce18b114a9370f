"""``cama --version``: the server's version, and this program's where they differ."""

from cama import __version__
from cama.client.client import Client
from cama.core.errors import CamaError
from cama.core.settings import Settings


def show_version() -> None:
    """Print the version; a server is asked but not started."""
    settings = Settings.load()
    server = _server_version(Client(settings.host.url, settings.api_key))
    if server is None:
        print("Warning: could not connect to a running Cama instance")
    else:
        print(f"cama version is {server}")
    if server != __version__:
        print(f"Warning: client version is {__version__}")


def _server_version(client: Client) -> str | None:
    try:
        return client.version()
    except CamaError:
        return None
