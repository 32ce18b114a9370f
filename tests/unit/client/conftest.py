"""A server to talk to."""

from collections.abc import Iterator

import pytest

from cama.client.client import Client
from tests.unit.client.tiny_server import TinyServer


@pytest.fixture
def server() -> Iterator[TinyServer]:
    with TinyServer() as server:
        yield server


@pytest.fixture
def client(server: TinyServer) -> Client:
    return Client(server.url)
