"""Pulls through a network that breaks, lies and stalls end complete and right, or say why not."""

import json
from dataclasses import replace

import pytest

from cama.core.errors import InvalidModelFile, RegistryDenied, RegistryError
from cama.registry.access import Access
from cama.registry.addresses import Dialer
from cama.store.names import ModelName
from cama.store.store import Store
from tests.registry.conftest import (
    PART_BYTES,
    WEIGHTS_BYTES,
    check_same,
    pulled,
    refusal,
)
from tests.registry.proxy import Fault, FaultProxy
from tests.registry.servers import needs_registry

pytestmark = [pytest.mark.e2e, needs_registry]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("cut", times=9, after=PART_BYTES // 3),
        Fault("cut", times=3),
        Fault("short", times=2),
        Fault("long", times=2),
        Fault("stall", times=2, after=1000),
        Fault("whole", times=1),
        Fault("status", times=3, status=500),
        Fault("status", times=3, status=429, headers={"Retry-After": "0"}),
        Fault("status", times=2, status=503, headers={"Retry-After": "86400"}),
        Fault("status", times=2, where="/manifests/", status=502),
        Fault("cut", times=2, where="/manifests/", after=10),
        Fault("redirect", times=5, location="{path}?again"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.where.strip('/')}-{fault.status or fault.after}",
)
def test_pull_gets_over_what_passes(
    proxy: FaultProxy, pushed: ModelName, source: Store, target: Store, access: Access, fault: Fault
) -> None:
    proxy.faults = [replace(fault)]
    pulled(pushed, target, access)
    check_same(pushed, source, target)
    assert proxy.faults[0].times == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("cut", times=999), "max retries exceeded: the connection ended|max retries|bytes"),
        (Fault("stall", times=999), "max retries exceeded: .*no data came for too long"),
        (Fault("status", times=999, status=500), "max retries exceeded: 500: "),
        (Fault("status", times=999, status=403), "403: "),
        (Fault("status", times=999, status=404), "file does not exist"),
        (Fault("gzip", times=999), "compresses its answer, unasked"),
        (
            Fault("redirect", times=999, location="{path}?again"),
            "redirects more than 10 times",
        ),
        (Fault("redirect", times=99, location="file:///etc/passwd"), "redirects to file:"),
        (Fault("status", times=99, where="/manifests/", status=404),
         "^pull model manifest: file does not exist$"),
        (Fault("status", times=99, where="/manifests/", status=418),
         "^pull model manifest: 418: $"),
        (Fault("status", times=99, where="/manifests/", status=401),
         "^pull model manifest: unauthorized: access denied$"),
    ],
)  # fmt: skip
def test_pull_says_why_it_failed(
    proxy: FaultProxy, pushed: ModelName, target: Store, access: Access, fault: Fault, message: str
) -> None:
    proxy.faults = [replace(fault)]
    error = refusal(pushed, target, access)
    assert isinstance(error, RegistryError)
    assert pytest.raises(type(error), match=message).matches(error), error.message


def test_corrupted_blob_is_found_and_comes_again(
    proxy: FaultProxy, pushed: ModelName, source: Store, target: Store, access: Access
) -> None:
    proxy.faults = [Fault("corrupt")]
    error = refusal(pushed, target, access)
    assert isinstance(error, InvalidModelFile)
    assert error.message.startswith("digest mismatch, file must be downloaded again: want sha256:")
    pulled(pushed, target, access)
    check_same(pushed, source, target)


def test_registry_without_ranges_sends_a_blob_at_once(
    proxy: FaultProxy, pushed: ModelName, source: Store, target: Store, access: Access
) -> None:
    proxy.faults = [Fault("whole", times=999)]
    pulled(pushed, target, access)
    check_same(pushed, source, target)


def test_blob_of_another_size_than_the_manifest_says_is_refused(
    proxy: FaultProxy, pushed: ModelName, target: Store, access: Access
) -> None:
    proxy.faults = [Fault("redirect", times=99, location=f"http://{proxy.host}/v2/")]
    assert "where its manifest says" in refusal(pushed, target, access).message


def test_redirect_to_another_host_gets_no_authorization(
    proxy: FaultProxy, pushed: ModelName, source: Store, target: Store, access: Access
) -> None:
    """The other host is the same server by another name."""
    access.docker_config.mkdir()
    (access.docker_config / "config.json").write_text(
        json.dumps({"auths": {proxy.host: {"auth": "dXNlcjpzZWNyZXQ="}}})
    )
    other = proxy.host.replace("127.0.0.1", "localhost")
    proxy.faults = [
        Fault("status", where="/manifests/", status=401,
              headers={"WWW-Authenticate": 'Basic realm="test"'}),
        Fault("redirect", times=1, location=f"http://{other}{{path}}"),
    ]  # fmt: skip
    pulled(pushed, target, access)
    check_same(pushed, source, target)
    at_home = [asked for asked in proxy.asked if asked.host == proxy.host]
    elsewhere = [asked for asked in proxy.asked if asked.host == other]
    assert at_home[1].authorization == "Basic dXNlcjpzZWNyZXQ="
    assert elsewhere
    assert {asked.authorization for asked in elsewhere} == {""}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "localhost", "169.254.169.254", "10.0.0.1", "[::ffff:7f00:1]"]
)
def test_public_registry_cannot_redirect_into_a_private_network(
    proxy: FaultProxy,
    pushed: ModelName,
    target: Store,
    access: Access,
    host: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This machine's registry counts as public here."""
    monkeypatch.setattr(Dialer, "_home_is_private", lambda self, port: False)
    proxy.faults = [Fault("redirect", times=99, location=f"http://{host}:1{{path}}")]
    if host == "127.0.0.1":  # its own host is no other one
        proxy.faults = [Fault("redirect", times=99, location="http://127.0.0.2:1{path}")]
    error = refusal(pushed, target, access)
    assert "which is at the private address" in error.message


def test_realm_of_another_host_is_not_signed_for(
    proxy: FaultProxy, pushed: ModelName, target: Store, access: Access
) -> None:
    challenge = 'Bearer realm="http://example.com/token",service="s",scope="a b"'
    proxy.faults = [
        Fault("status", times=9, where="/manifests/", status=401,
              headers={"WWW-Authenticate": challenge})
    ]  # fmt: skip
    error = refusal(pushed, target, access)
    assert isinstance(error, RegistryDenied)
    assert error.message == (
        f'pull model manifest: realm host "example.com" does not match original host "{proxy.host}"'
    )


def test_broken_pull_is_continued_where_it_was(
    proxy: FaultProxy, pushed: ModelName, source: Store, target: Store, access: Access
) -> None:
    proxy.faults = [Fault("cut", times=999, after=PART_BYTES // 2)]
    with_one_try = replace(access, patience=replace(access.patience, tries=1))
    refusal(pushed, target, with_one_try)
    proxy.faults, before = [], proxy.bytes_asked()
    proxy.asked.clear()
    assert max(before.values()) <= WEIGHTS_BYTES
    pulled(pushed, target, access)
    check_same(pushed, source, target)
    asked = max(proxy.bytes_asked().values())
    assert asked < WEIGHTS_BYTES - PART_BYTES // 4
