"""The Hugging Face hub, as far as its list of files, against a hub of our own."""

import hashlib
from pathlib import Path

import pytest

from cama.core.errors import (
    InvalidModelName,
    ModelNotFound,
    RegistryDenied,
    RegistryError,
    RegistryUnreachable,
    StoreError,
    UnsupportedModel,
)
from cama.registry.hub import Hub
from cama.registry.huggingface import HubPull, Machine
from cama.registry.patience import Patience
from cama.store.names import ModelName
from cama.store.store import Store
from cama.store.variants import RepoFile
from tests.unit.registry.hub_server import COMMIT, TOKEN, HubServer

WEIGHTS = b"GGUF" * 1000


def test_repository_lists_files(hub_server: HubServer) -> None:
    hub_server.repositories["u/m-GGUF"] = {"m-Q8_0.gguf": WEIGHTS, "README.md": b"# m"}
    found = Hub(hub_server.url).repository("u/m-GGUF")
    digest = f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"
    assert (found.name, found.commit) == ("u/m-GGUF", COMMIT)
    assert found.files == (RepoFile("m-Q8_0.gguf", 4000, digest), RepoFile("README.md", 3))
    assert found.file("README.md") == found.files[1]
    assert found.file("LICENSE") is None


def test_digest_is_that_of_the_linked_file(hub_server: HubServer) -> None:
    hub_server.repositories["u/m"] = {"m.gguf": WEIGHTS, "small": b"x"}
    hub = Hub(hub_server.url)
    found = hub.repository("u/m")
    expected = f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"
    assert hub.digest(found, RepoFile("m.gguf", len(WEIGHTS))) == expected
    with pytest.raises(RegistryError, match="does not say what small must contain"):
        hub.digest(found, RepoFile("small", 1))
    with pytest.raises(RegistryError, match=r"does not say what m\.gguf must contain"):
        hub.digest(found, RepoFile("m.gguf", 5))


def test_repository_that_does_not_exist(hub_server: HubServer) -> None:
    with pytest.raises(ModelNotFound, match=r"has no u/none, or shows it only with a token"):
        Hub(hub_server.url).repository("u/none")


def test_repository_with_a_name_that_is_none(hub_server: HubServer) -> None:
    with pytest.raises(InvalidModelName, match="invalid repository name"):
        Hub(hub_server.url).repository("u/m--n..o")
    assert hub_server.requests == []


def test_gated_repository_wants_a_token(hub_server: HubServer) -> None:
    hub_server.repositories["u/m"] = {"m.gguf": WEIGHTS}
    hub_server.gated["u/m"] = TOKEN
    for token in ("", "hf_wrong"):
        with pytest.raises(RegistryDenied, match=r"accepted its terms.*and set HF_TOKEN") as caught:
            Hub(hub_server.url, token).repository("u/m")
        assert caught.value.fields["status"] == 403
    assert len(Hub(hub_server.url, TOKEN).repository("u/m").files) == 1


def test_headers_are_for_the_hub(hub_server: HubServer) -> None:
    assert Hub(hub_server.url).headers() == {}
    assert Hub(hub_server.url, TOKEN).headers() == {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(("status", "kind"), [(500, RegistryError), (401, RegistryDenied)])
def test_refusal_has_the_hubs_words(
    hub_server: HubServer, status: int, kind: type[RegistryError]
) -> None:
    hub_server.status = status
    hub_server.repositories["u/m"] = {}
    with pytest.raises((kind, ModelNotFound)) as caught:
        Hub(hub_server.url).repository("u/m")
    if status == 500:
        assert caught.value.message == "500: the hub rests"


def test_hub_that_does_not_answer() -> None:
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:9: .*refused"):
        Hub("http://127.0.0.1:9").repository("u/m")


@pytest.mark.parametrize(
    "path", ["../m.gguf", "/etc/m.gguf", "a/../../m.gguf", "a//m.gguf", "./m.gguf", "", "m\n.gguf"]
)
def test_repository_leaves_out_paths_that_lead_away(hub_server: HubServer, path: str) -> None:
    hub_server.repositories["u/m"] = {"m.gguf": WEIGHTS}
    hub_server.listed.append({"rfilename": path, "size": 4000})
    assert [file.path for file in Hub(hub_server.url).repository("u/m").files] == ["m.gguf"]


@pytest.mark.parametrize("digest", ["../../../x", "ab", "g" * 64, "/" * 64, f"{'ab' * 32}/../x"])
def test_repository_trusts_no_digest_that_is_none(hub_server: HubServer, digest: str) -> None:
    hub_server.repositories["u/m"] = {}
    lfs = {"sha256": digest, "size": 4000, "pointerSize": 1}
    hub_server.listed.append({"rfilename": "m-Q8_0.gguf", "size": 4000, "lfs": lfs})
    assert Hub(hub_server.url).repository("u/m").files == (RepoFile("m-Q8_0.gguf", 4000),)


@pytest.mark.parametrize("size", [-1, 10**30, "many", None, 1.5])
def test_pull_of_a_size_that_is_none_is_refused(
    hub_server: HubServer, tmp_path: Path, size: object
) -> None:
    hub_server.repositories["u/m"] = {}
    lfs = {"sha256": "ab" * 32, "size": size, "pointerSize": 1}
    hub_server.listed.append({"rfilename": "m-Q8_0.gguf", "size": size, "lfs": lfs})
    pull = HubPull(
        name=ModelName.parse("hf.co/u/m"),
        store=Store(tmp_path / "models"),
        hub=Hub(hub_server.url),
        machine=Machine(memory_bytes=1 << 30, n_tokens=1),
        patience=Patience(pause=0.001, tries=1),
        report=lambda progress: None,
    )
    with pytest.raises((UnsupportedModel, StoreError)):
        pull.run(lambda found: None)
    assert list((tmp_path / "models").rglob("*-partial*")) == []
