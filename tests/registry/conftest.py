"""Stores with models, registries that have them, and the patience of tests."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cama.core.errors import CamaError
from cama.registry import download
from cama.registry.access import Access
from cama.registry.patience import Patience
from cama.registry.progress import Progress
from cama.registry.pull import pull
from cama.registry.push import push
from cama.store import partials
from cama.store.manifest import Manifest, MediaType
from cama.store.names import ModelName
from cama.store.store import Store
from tests.registry.proxy import FaultProxy
from tests.registry.servers import RealRegistry, running_registry

PART_BYTES = 256 << 10
WEIGHTS_BYTES = 5 * PART_BYTES + 12345
"""Six parts, the last of which is short."""

MakeModel = Callable[..., ModelName]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partials, "PART_BYTES", PART_BYTES)
    monkeypatch.setattr(download, "_NOTE_BYTES", PART_BYTES // 8)
    monkeypatch.setattr(download, "_PROGRESS_BYTES", PART_BYTES // 8)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def access(tmp_path: Path) -> Access:
    """Plain HTTP, a key of its own, no login, and little patience."""
    return Access(
        keys=(tmp_path / "keys" / "id_ed25519",),
        docker_config=tmp_path / "docker",
        insecure=True,
        patience=Patience(connect=5, stall=0.5, tries=4, pause=0.01, longest_pause=0.2),
    )


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Store:
    return Store(tmp_path / "source")


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return Store(tmp_path / "target")


@pytest.fixture
def proxy(registry: RealRegistry) -> Iterator[FaultProxy]:
    with FaultProxy(registry.port) as running:
        yield running


@pytest.fixture
def pushed(registry: RealRegistry, proxy: FaultProxy, source: Store, access: Access) -> ModelName:
    """The name, at the proxy, of a model that the registry has."""
    there = add_model(source, f"{registry.host}/test/m{os.urandom(4).hex()}:latest")
    push(there, source, access, lambda progress: None)
    return ModelName(proxy.host, there.namespace, there.model, there.tag)


def add_model(store: Store, name: str, size: int = WEIGHTS_BYTES) -> ModelName:
    """A model whose weights are noise."""
    parsed = ModelName.parse(name)
    with store.staging() as staging:
        layers = (
            staging.add_bytes(os.urandom(size)).layer(MediaType.MODEL),
            staging.add_bytes(b"{{ .Prompt }}").layer(MediaType.TEMPLATE),
            staging.add_bytes(os.urandom(10)).layer("application/vnd.example.unknown"),
        )
        config = staging.add_bytes(b'{"model_format":"gguf"}').layer(MediaType.CONFIG)
        store.publish(parsed.full, Manifest(config=config, layers=layers), staging)
    return parsed


def pulled(name: ModelName, store: Store, access: Access) -> list[Progress]:
    """Pull a model; what was told meanwhile."""
    events: list[Progress] = []
    pull(name, store, access, events.append)
    return events


def check_same(name: ModelName, source: Store, target: Store) -> None:
    """The model that the proxy calls ``name`` is the same in both stores, and sound."""
    data = target.manifests.read(name)
    there = next(one for one in source.manifests.names() if one.model == name.model)
    assert data == source.manifests.read(there)
    for layer in Manifest.from_bytes(data, "manifest").blobs:
        assert (
            target.blobs.path(layer.digest).read_bytes()
            == source.blobs.path(layer.digest).read_bytes()
        )
    check_sound(target)
    assert not [path for path in target.blobs.folder.iterdir() if "partial" in path.name]


def check_sound(store: Store) -> None:
    """Every blob is what its name says, and no manifest lacks one."""
    findings = store.examine().findings
    assert [finding for finding in findings if not finding.is_leftover] == []


def refusal(name: ModelName, store: Store, access: Access) -> CamaError:
    """The error that a pull ends with; the store is as sound as before."""
    with pytest.raises(CamaError) as caught:
        pulled(name, store, access)
    check_sound(store)
    assert store.manifests.find(name) is None
    return caught.value
