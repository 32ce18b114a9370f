"""Pulling from the Hugging Face hub: choice, contents, caches, interruptions, refusals."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import (
    Cancelled,
    InvalidModelFile,
    InvalidRequest,
    ModelNotFound,
    RegistryDenied,
    RegistryError,
    UnsupportedModel,
)
from cama.registry.hub import Hub
from cama.registry.huggingface import Found, HubPull, Machine
from cama.registry.patience import Patience
from cama.registry.progress import Progress
from cama.store.names import ModelName
from cama.store.store import Store
from tests.unit.registry.hub_server import COMMIT, TOKEN, HubServer

SMALL = b"GGUF small " * 500
LARGE = b"GGUF large " * 1000
EYES = b"GGUF eyes " * 200
FILES = {"m-Q4_K_M.gguf": SMALL, "m-Q8_0.gguf": LARGE, "README.md": b"# m"}

Pull = Callable[..., Found]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models", hub_cache=tmp_path / "hub")


@pytest.fixture
def reports() -> list[Progress]:
    return []


@pytest.fixture
def pull(store: Store, hub_server: HubServer, reports: list[Progress]) -> Pull:
    def pull(
        name: str = "hf.co/u/m-GGUF",
        *,
        token: str = "",
        memory: int = 64 << 30,
        patience: Patience | None = None,
    ) -> Found:
        found: list[Found] = []
        HubPull(
            name=ModelName.parse(name),
            store=store,
            hub=Hub(hub_server.url, token),
            machine=Machine(memory_bytes=memory, n_tokens=4096),
            patience=patience or Patience(pause=0.001, tries=3),
            report=reports.append,
        ).run(found.append)
        return found[0]

    return pull


@pytest.fixture
def repository(hub_server: HubServer) -> HubServer:
    hub_server.repositories["u/m-GGUF"] = dict(FILES)
    return hub_server


def contents(found: Found) -> list[bytes]:
    return [path.read_bytes() for path in found.files]


def downloads(server: HubServer) -> int:
    return sum(path.startswith("/cdn/") for method, path in server.requests if method == "GET")


def test_pull_takes_what_suits_the_machine(
    repository: HubServer, pull: Pull, reports: list[Progress]
) -> None:
    found = pull()
    assert contents(found) == [LARGE]
    about: dict[str, Any] = found.info["cama"]
    assert (about["repository"], about["commit"]) == ("u/m-GGUF", COMMIT)
    assert about["files"] == ["m-Q8_0.gguf"]
    assert about["reason"].startswith("Q8_0 takes 0.5 GiB with 4096 tokens of context, at most")
    digest = hashlib.sha256(LARGE).hexdigest()
    statuses = [report.status for report in reports]
    assert statuses[:3] == ["pulling manifest", about["reason"], f"pulling {digest[:12]}"]
    assert (reports[-1].completed, reports[-1].total) == (len(LARGE), len(LARGE))


@pytest.mark.parametrize("tag", ["Q4_K_M", "q4_k_m", "m-Q4_K_M.gguf"])
def test_pull_takes_what_was_asked_for(repository: HubServer, pull: Pull, tag: str) -> None:
    found = pull(f"huggingface.co/u/m-GGUF:{tag}")
    assert contents(found) == [SMALL]
    assert found.info["cama"]["reason"] == "Q4_K_M was asked for"


def test_pull_gives_no_token_to_other_hosts(repository: HubServer, pull: Pull) -> None:
    repository.gated["u/m-GGUF"] = TOKEN
    with pytest.raises(RegistryDenied, match="accepted its terms"):
        pull()
    assert contents(pull(token=TOKEN)) == [LARGE]
    assert set(repository.cdn_tokens) == {""}


def test_pull_takes_projector_template_system_and_parameters(
    repository: HubServer, pull: Pull
) -> None:
    repository.repositories["u/m-GGUF"] = FILES | {
        "mmproj-F16.gguf": EYES,
        "template": "{{ .Prompt }}é".encode(),
        "system": b"Be brief.",
        "params": b'{"temperature": 0.5}',
    }
    found = pull()
    assert contents(found) == [LARGE, EYES]
    assert (found.template, found.system) == ("{{ .Prompt }}é", "Be brief.")
    assert found.params == {"temperature": 0.5}
    assert found.info["cama"]["projector"] == "mmproj-F16.gguf"


def test_pull_takes_all_parts_in_order(hub_server: HubServer, pull: Pull) -> None:
    parts = {f"Q8_0/m-0000{i}-of-00003.gguf": bytes([i]) * 2000 for i in (2, 3, 1)}
    hub_server.repositories["u/m-GGUF"] = parts
    assert contents(pull()) == [bytes([i]) * 2000 for i in (1, 2, 3)]


def test_pull_asks_for_nothing_that_is_there(repository: HubServer, pull: Pull) -> None:
    pull()
    before = downloads(repository)
    pull()
    assert downloads(repository) == before


def test_pull_goes_on_where_it_broke_off(repository: HubServer, pull: Pull, store: Store) -> None:
    repository.cut_after = 4000
    assert contents(pull()) == [LARGE]
    assert repository.ranges[:2] == ["bytes=0-10999", "bytes=4000-10999"]
    assert [f.kind for f in store.examine().findings] == ["unused-blob"]


def test_pull_that_failed_goes_on_later(repository: HubServer, pull: Pull, store: Store) -> None:
    repository.cut_after = 4000
    with pytest.raises(RegistryError, match="max retries exceeded"):
        pull(patience=Patience(pause=0.001, tries=1))
    assert [f.kind for f in store.examine().findings] == ["partial"]
    repository.cut_after = None
    assert contents(pull()) == [LARGE]
    assert repository.ranges[-1] == "bytes=4000-10999"


def test_pull_refuses_damaged_content(repository: HubServer, pull: Pull, store: Store) -> None:
    repository.damaged.add(hashlib.sha256(LARGE).hexdigest())
    with pytest.raises(InvalidModelFile, match="digest mismatch, file must be downloaded again"):
        pull()
    assert store.examine().findings == []


def test_pull_that_nobody_waits_for_ends(repository: HubServer, pull: Pull) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        pull(patience=Patience(stop=stop))


@pytest.mark.parametrize(
    ("files", "kind", "reason"),
    [
        ({}, UnsupportedModel, "no GGUF file of a model"),
        ({"model.safetensors": LARGE}, UnsupportedModel, "no GGUF file of a model"),
        (FILES | {"params": b"["}, InvalidModelFile, "params is not JSON"),
        (FILES | {"params": b"[]"}, InvalidModelFile, "params is not JSON: not an object"),
        (FILES | {"system": b"\xff"}, InvalidModelFile, "the file system is not UTF-8"),
        (FILES | {"template": b"x" * (2 << 20)}, RegistryError, "the file template is larger"),
    ],
)
def test_pull_refuses_a_repository(
    hub_server: HubServer, pull: Pull, files: dict[str, bytes], kind: type[Exception], reason: str
) -> None:
    hub_server.repositories["u/m-GGUF"] = files
    with pytest.raises(kind, match=reason):
        pull()


def test_pull_says_what_the_repository_has(repository: HubServer, pull: Pull) -> None:
    with pytest.raises(InvalidRequest, match="has no Q2_K; it has Q4_K_M, Q8_0"):
        pull("hf.co/u/m-GGUF:Q2_K")
    with pytest.raises(ModelNotFound, match="has no u/other"):
        pull("hf.co/u/other")


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """The hub's own cache with the large file: a link in a snapshot, as its client leaves it."""
    folder = tmp_path / "hub" / "models--u--m-GGUF"
    blob = folder / "blobs" / hashlib.sha256(LARGE).hexdigest()
    snapshot = folder / "snapshots" / COMMIT
    for path in (blob.parent, snapshot, folder / "refs"):
        path.mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    blob.write_bytes(LARGE)
    (snapshot / "m-Q8_0.gguf").symlink_to(os.path.relpath(blob, snapshot))
    return blob


def test_pull_takes_what_the_hubs_client_has(
    repository: HubServer, pull: Pull, cached: Path
) -> None:
    assert contents(pull()) == [LARGE]
    assert downloads(repository) == 0


def test_pull_does_not_trust_the_hubs_cache(
    repository: HubServer, pull: Pull, cached: Path
) -> None:
    cached.write_bytes(bytes(reversed(LARGE)))
    assert contents(pull()) == [LARGE]
    assert downloads(repository) == 1
