"""Push to and pull from Debian's docker-registry."""

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cama.core.errors import ModelNotFound, RegistryDenied
from cama.registry.access import Access
from cama.registry.progress import Progress
from cama.registry.push import push
from cama.store.names import ModelName
from cama.store.store import Store
from tests.registry.certificates import make_certificate
from tests.registry.conftest import WEIGHTS_BYTES, add_model, check_same, pulled, refusal
from tests.registry.proxy import FaultProxy
from tests.registry.servers import RealRegistry, needs_registry, running_registry

pytestmark = [pytest.mark.e2e, needs_registry]


def no_report(progress: Progress) -> None:
    """Nobody listens."""


def test_model_comes_back_as_it_went(
    registry: RealRegistry, source: Store, target: Store, access: Access
) -> None:
    name = add_model(source, f"{registry.host}/test/whole:1b")
    pushes: list[Progress] = []
    push(name, source, access, pushes.append)
    events = pulled(name, target, access)
    check_same(name, source, target)
    assert [e.status for e in (pushes[0], *pushes[-2:])] == [
        "retrieving manifest", "pushing manifest", "success",
    ]  # fmt: skip
    assert (events[0], *events[-3:]) == (
        Progress("pulling manifest"),
        Progress("verifying sha256 digest"),
        Progress("writing manifest"),
        Progress("success"),
    )
    weights = source.manifest(name.full)[1].layers[0]
    last = [event for event in events if event.digest == weights.digest][-1]
    short = weights.digest.removeprefix("sha256:")[:12]
    assert last == Progress(
        f"pulling {short}", weights.digest, total=WEIGHTS_BYTES, completed=WEIGHTS_BYTES
    )


def test_what_is_there_is_not_transferred_again(
    proxy: FaultProxy, pushed: ModelName, source: Store, target: Store, access: Access
) -> None:
    pulled(pushed, target, access)
    proxy.asked.clear()
    pulled(pushed, target, access)
    assert [asked.path.split("/")[-2] for asked in proxy.asked] == ["manifests"]
    proxy.asked.clear()
    push(pushed, target, access, no_report)
    assert {asked.method for asked in proxy.asked} == {"HEAD", "PUT"}


def test_updated_tag_removes_what_it_no_longer_needs(
    registry: RealRegistry, source: Store, target: Store, access: Access
) -> None:
    name = add_model(source, f"{registry.host}/test/updated:latest")
    push(name, source, access, no_report)
    pulled(name, target, access)
    old = target.manifest(name.full)[1].layers[0].digest
    add_model(source, name.full)
    push(name, source, access, no_report)
    events = pulled(name, target, access)
    assert [event.status for event in events[-3:]] == [
        "writing manifest", "removing unused layers", "success",
    ]  # fmt: skip
    assert target.blobs.size(old) is None
    check_same(name, source, target)


def test_push_of_a_model_that_is_not_there_says_so(
    registry: RealRegistry, source: Store, access: Access
) -> None:
    events: list[Progress] = []
    with pytest.raises(ModelNotFound):
        push(ModelName.parse(f"{registry.host}/test/none"), source, access, events.append)
    assert [e.status for e in events] == ["retrieving manifest", "couldn't retrieve manifest"]


def login(access: Access, host: str, user: str, password: str) -> None:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    access.docker_config.mkdir(exist_ok=True)
    path = access.docker_config / "config.json"
    path.write_text(json.dumps({"auths": {host: {"auth": auth}}}))


HTPASSWD = "user:$2b$04$aZJx3TFgDJPNlf7xQ0amyO8dPRhcBOkVkmBjKLf8I95mZmf8QEw1y\n"
"""The password is "secret"."""


def test_registry_with_passwords_lets_in_who_has_one(
    tmp_path: Path, source: Store, target: Store, access: Access
) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    more = f"auth:\n  htpasswd:\n    realm: test\n    path: {tmp_path}/htpasswd\n"
    with running_registry(tmp_path, more) as registry:
        name = add_model(source, f"{registry.host}/test/m")
        with pytest.raises(RegistryDenied, match=r"^unauthorized: access denied$"):
            push(name, source, access, no_report)
        login(access, registry.host, "user", "wrong")
        assert "unauthorized: access denied" in refusal(name, target, access).message
        login(access, registry.host, "user", "secret")
        push(name, source, access, no_report)
        pulled(name, target, access)
    check_same(name, source, target)


def test_registry_is_reached_by_tls_with_a_certificate_that_is_trusted(
    tmp_path: Path,
    source: Store,
    target: Store,
    access: Access,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate, key = make_certificate(tmp_path)
    more = f"  tls:\n    certificate: {certificate}\n    key: {key}\n"
    secure = replace(access, insecure=False)
    with running_registry(tmp_path, more) as registry:
        name = add_model(source, f"{registry.host}/test/m")
        assert "certificate verify failed" in refusal(name, target, secure).message
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        push(name, source, secure, no_report)
        pulled(name, target, secure)
    check_same(name, source, target)


def test_secure_pull_does_not_fall_back_to_http(
    registry: RealRegistry, source: Store, target: Store, access: Access
) -> None:
    name = add_model(source, f"{registry.host}/test/plain")
    push(name, source, access, no_report)
    error = refusal(name, target, replace(access, insecure=False))
    assert error.message.startswith(f"pull model manifest: https://{registry.host}: ")


def test_registry_without_room_for_a_model_is_told_before_it_is_asked(
    proxy: FaultProxy,
    pushed: ModelName,
    target: Store,
    access: Access,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage(target.root.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=WEIGHTS_BYTES))
    proxy.asked.clear()
    assert "no space left for" in refusal(pushed, target, access).message
    assert proxy.bytes_asked().total() == 0
