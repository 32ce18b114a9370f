"""Proxies of the environment."""

import pytest

from cama.registry.access import Access
from cama.store.names import ModelName
from cama.store.store import Store
from tests.registry.conftest import check_same, pulled, refusal
from tests.registry.proxy import Fault, FaultProxy
from tests.registry.servers import needs_registry

pytestmark = [pytest.mark.e2e, needs_registry]


@pytest.fixture
def elsewhere(proxy: FaultProxy, pushed: ModelName, monkeypatch: pytest.MonkeyPatch) -> ModelName:
    """A model of a registry whose name only the proxy knows."""
    monkeypatch.setenv("http_proxy", f"http://me:word@{proxy.host}")
    proxy.asked.clear()
    return ModelName("registry.invalid", pushed.namespace, pushed.model, pushed.tag)


def test_registry_is_asked_through_the_proxy(
    proxy: FaultProxy, elsewhere: ModelName, source: Store, target: Store, access: Access
) -> None:
    pulled(elsewhere, target, access)
    check_same(elsewhere, source, target)
    assert {asked.host for asked in proxy.asked} == {"registry.invalid"}
    assert all(asked.path.startswith("http://registry.invalid/v2/") for asked in proxy.asked)


def test_no_proxy_is_heeded(
    proxy: FaultProxy,
    elsewhere: ModelName,
    target: Store,
    access: Access,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "example.com,.invalid")
    assert "lookup registry.invalid: " in refusal(elsewhere, target, access).message
    assert proxy.asked == []


def test_registry_behind_a_proxy_cannot_redirect_to_a_private_address(
    proxy: FaultProxy, elsewhere: ModelName, target: Store, access: Access
) -> None:
    proxy.faults = [Fault("redirect", times=9, location="http://10.0.0.1/")]
    assert "at the private address 10.0.0.1" in refusal(elsewhere, target, access).message
    assert all("10.0.0.1" not in asked.path for asked in proxy.asked)
