"""Models that the hub's own client has downloaded, where they are."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cama.core.errors import ModelNotFound
from cama.core.settings import Settings
from cama.store.store import Store
from tests.splitting import split

MakeGGUF = Callable[..., Path]


@dataclass
class Cache:
    """A repository ``u/m-GGUF`` in the layout of the hub's client."""

    root: Path
    commit: str = "c0ffee"

    @property
    def folder(self) -> Path:
        return self.root / "models--u--m-GGUF"

    def add(self, source: Path, name: str) -> Path:
        """Move a file in; returns the file that the link in the snapshot leads to."""
        blob = self.folder / "blobs" / f"{len(list(self.folder.rglob('*'))):064x}"
        link = self.folder / "snapshots" / self.commit / name
        for path in (blob, link, self.folder / "refs" / "main"):
            path.parent.mkdir(parents=True, exist_ok=True)
        source.rename(blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
        (self.folder / "refs" / "main").write_text(self.commit)
        return blob


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "hub")


@pytest.fixture
def store(root: Path, cache: Cache) -> Store:
    return Store(root, hub_cache=cache.root)


@pytest.mark.parametrize(
    "name",
    ["hf.co/u/m-GGUF", "huggingface.co/u/m-GGUF:Q8_0", "hf.co/u/m-GGUF:m-q8_0.gguf"],
)
def test_cached_model_is_used_in_place(
    store: Store, cache: Cache, make_gguf: MakeGGUF, name: str
) -> None:
    blob = cache.add(make_gguf(), "m-Q8_0.gguf")
    model = store.get(name)
    assert (model.path, model.is_file) == (blob, True)
    assert not store.root.exists()


def test_cached_model_without_a_tag_is_that_of_most_bits(
    store: Store, cache: Cache, make_gguf: MakeGGUF
) -> None:
    cache.add(make_gguf(llama__context_length=1), "m-Q4_K_M.gguf")
    best = cache.add(make_gguf(), "m-Q8_0.gguf")
    assert store.get("hf.co/u/m-GGUF").path == best


def test_cached_model_comes_with_its_projector(
    store: Store, cache: Cache, make_gguf: MakeGGUF
) -> None:
    cache.add(make_gguf(), "m-Q8_0.gguf")
    eyes = cache.add(make_gguf(general__type="mmproj"), "mmproj-F16.gguf")
    assert store.get("hf.co/u/m-GGUF").projectors == (eyes,)


def test_cached_model_may_be_split(
    store: Store, cache: Cache, make_gguf: MakeGGUF, tmp_path: Path
) -> None:
    parts = split(make_gguf(), tmp_path / "parts", "m", 2)
    blobs = tuple(cache.add(part, f"Q8_0/{part.name}") for part in parts)
    assert store.get("hf.co/u/m-GGUF:Q8_0").parts == blobs


@pytest.mark.parametrize("name", ["hf.co/u/m-GGUF:Q2_K", "hf.co/u/other", "u/m-GGUF", "m-GGUF"])
def test_other_names_are_not_found(
    store: Store, cache: Cache, make_gguf: MakeGGUF, name: str
) -> None:
    cache.add(make_gguf(), "m-Q8_0.gguf")
    with pytest.raises(ModelNotFound):
        store.get(name)


@pytest.mark.parametrize("commit", ["", "..", "/etc", "a/b", "gone", "\n"])
def test_cache_that_is_damaged_has_nothing(
    store: Store, cache: Cache, make_gguf: MakeGGUF, commit: str
) -> None:
    cache.add(make_gguf(), "m-Q8_0.gguf")
    (cache.folder / "refs" / "main").write_text(commit)
    with pytest.raises(ModelNotFound):
        store.get("hf.co/u/m-GGUF")


def test_cache_with_a_link_to_nowhere_has_nothing(
    store: Store, cache: Cache, make_gguf: MakeGGUF
) -> None:
    cache.add(make_gguf(), "m-Q8_0.gguf").unlink()
    with pytest.raises(ModelNotFound):
        store.get("hf.co/u/m-GGUF")


def test_settings_name_the_cache(cache: Cache, root: Path, make_gguf: MakeGGUF) -> None:
    blob = cache.add(make_gguf(), "m-Q8_0.gguf")
    environment = {"HF_HUB_CACHE": str(cache.root), "CAMA_MODELS": str(root)}
    assert Store.of(Settings.load(environment)).get("hf.co/u/m-GGUF").path == blob
