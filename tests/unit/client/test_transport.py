"""Facts about addresses."""

import pytest

from cama.client.transport import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST"])
def test_is_loopback_knows_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_is_loopback_refuses_others(host: str) -> None:
    assert not is_loopback(host)
