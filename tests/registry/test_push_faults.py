"""Pushes through a network that breaks."""

from dataclasses import replace

import pytest

from cama.core.errors import CamaError, RegistryError
from cama.registry import upload
from cama.registry.access import Access
from cama.registry.progress import Progress
from cama.registry.push import push
from cama.store.names import ModelName
from cama.store.store import Store
from tests.registry.conftest import PART_BYTES, add_model, check_same, pulled
from tests.registry.proxy import Fault, FaultProxy
from tests.registry.servers import needs_registry

pytestmark = [pytest.mark.e2e, needs_registry]


@pytest.fixture
def name(proxy: FaultProxy, source: Store, monkeypatch: pytest.MonkeyPatch) -> ModelName:
    """A model that the registry does not have yet, and that goes there in six parts."""
    monkeypatch.setattr(upload, "_MIN_PART_BYTES", PART_BYTES)
    return add_model(source, f"{proxy.host}/test/{source.root.parent.name[-40:]}")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", times=2, method="PATCH", status=500),
        Fault("status", times=2, method="PATCH", status=429),
        Fault("half", times=1, method="PATCH"),
        Fault("status", times=2, method="POST", status=503),
        Fault("status", times=2, method="HEAD", status=502),
        Fault("status", times=2, method="PUT", status=500),
        Fault("status", times=2, method="PUT", where="/manifests/", status=500),
        Fault("cut", times=1, method="PATCH"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.method}-{fault.status}",
)
def test_push_gets_over_what_passes(
    proxy: FaultProxy, name: ModelName, source: Store, target: Store, access: Access, fault: Fault
) -> None:
    proxy.faults = [replace(fault)]
    events: list[Progress] = []
    push(name, source, access, events.append)
    assert proxy.faults[0].times == 0
    assert events[-1] == Progress("success")
    proxy.faults = []
    pulled(name, target, access)
    check_same(name, source, target)


def test_part_goes_on_where_the_registry_has_it(
    proxy: FaultProxy, name: ModelName, source: Store, access: Access
) -> None:
    proxy.faults = [Fault("status", times=1, method="PATCH", status=500)]
    push(name, source, access, lambda progress: None)
    weights = source.manifest(name.full)[1].layers[0]
    n_parts = -(-weights.size // PART_BYTES)
    sent = [asked for asked in proxy.asked if asked.method == "PATCH"]
    assert len(sent) == n_parts + 1 + 3  # one again, and the small layers


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("status", times=99, method="PATCH", status=500), "max retries exceeded: 500: "),
        (Fault("status", times=99, method="POST", status=403, body=b"no"), "403: no"),
        (Fault("status", times=99, method="PUT", where="/manifests/", status=400, body=b"{}"),
         "400: {}"),
        (Fault("status", times=99, method="POST", status=401), "unauthorized: access denied"),
        (Fault("status", times=99, method="POST", status=202), "does not say where"),
    ],
)  # fmt: skip
def test_push_says_why_it_failed(
    proxy: FaultProxy, name: ModelName, source: Store, access: Access, fault: Fault, message: str
) -> None:
    proxy.faults = [replace(fault)]
    with pytest.raises(CamaError) as caught:
        push(name, source, access, lambda progress: None)
    assert isinstance(caught.value, RegistryError)
    assert message in caught.value.message


def test_upload_that_goes_on_elsewhere_gets_no_authorization(
    proxy: FaultProxy, name: ModelName, source: Store, target: Store, access: Access
) -> None:
    """As Ollama's registry does: it says where the bytes of each part are kept."""
    elsewhere = proxy.host.replace("127.0.0.1", "localhost")
    proxy.faults = [
        Fault("status", times=1, method="HEAD", status=401,
              headers={"WWW-Authenticate": "Basic realm=x"}),
        Fault("redirect", times=1, method="PATCH", location=f"http://{elsewhere}/kept",
              headers={"Docker-Upload-Location": f"http://{proxy.host}/v2/next"}),
        Fault("status", where="/kept", status=200),
        Fault("status", times=99, where="/v2/next", status=201,
              headers={"Location": f"http://{proxy.host}/v2/next"}),
    ]  # fmt: skip
    access.docker_config.mkdir()
    (access.docker_config / "config.json").write_text(
        f'{{"auths": {{"{proxy.host}": {{"auth": "dXNlcjpzZWNyZXQ="}}}}}}'
    )
    with pytest.raises(CamaError):  # the registry itself has never got the first blob
        push(name, source, access, lambda progress: None)
    kept = [asked for asked in proxy.asked if asked.path == "/kept"]
    assert [(asked.method, asked.host, asked.authorization) for asked in kept] == [
        ("PUT", elsewhere, "")
    ]
    commit = next(a for a in proxy.asked if a.path.startswith("/v2/next?digest=sha256%3A"))
    assert commit.authorization == "Basic dXNlcjpzZWNyZXQ="
    assert commit.path.endswith("-6")
