"""Models that are part of Cama, and the parameters that a file recommends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import InvalidModelFile, ModelNotFound, Unsupported
from cama.core.settings import Settings
from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.store.store import Store

MakeGGUF = Callable[..., Path]


@pytest.fixture
def bundle(root: Path, make_gguf: MakeGGUF) -> Store:
    path = make_gguf("bundled/guide.gguf")
    return Store(root, bundled=path.parent)


@pytest.mark.parametrize(
    "name", ["guide", "guide:latest", "Guide", "library/guide", "registry.ollama.ai/library/guide"]
)
def test_bundled_model_is_found_without_a_store(bundle: Store, name: str) -> None:
    model = bundle.get(name)
    assert (model.name, model.is_file) == ("guide:latest", True)
    assert not bundle.root.exists()


@pytest.mark.parametrize("name", ["guide:v2", "other/guide", "guid", "../bundled/guide", "no/a/b"])
def test_other_names_are_not_bundled(bundle: Store, name: str) -> None:
    with pytest.raises(ModelNotFound):
        bundle.get(name)


def test_bundled_model_is_listed_until_the_store_has_one(
    bundle: Store, make_gguf: MakeGGUF, tmp_path: Path
) -> None:
    assert [model.name for model in bundle.list()] == ["guide:latest"]
    own = parse_modelfile(f"FROM {make_gguf()}\nSYSTEM mine\n")
    create_model(bundle, "guide", own, tmp_path, lambda line: None)
    assert [model.system for model in bundle.list()] == ["mine"]
    assert bundle.get("guide").system == "mine"
    bundle.delete("guide")
    assert [model.system for model in bundle.list()] == [None]


def test_a_searched_file_goes_before_a_bundled_one(root: Path, make_gguf: MakeGGUF) -> None:
    ours, found = make_gguf("bundled/guide.gguf"), make_gguf("found/guide.gguf")
    store = Store(root, search=(found.parent,), bundled=ours.parent)
    assert store.get("guide").path == found.resolve()


def test_bundled_model_can_neither_be_removed_nor_copied(bundle: Store) -> None:
    for act in (bundle.delete, lambda name: bundle.copy(name, "mine"), bundle.manifest):
        with pytest.raises(Unsupported, match="guide:latest is part of Cama"):
            act("guide")
    assert bundle.get("guide")


def test_a_user_has_the_bundled_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAMA_MODELS", str(tmp_path / "none"))
    assert [model.name for model in Store.of(Settings.load()).list()] == ["guide:latest"]


def test_recommended_sampling_is_the_models_parameters(store: Store, make_gguf: MakeGGUF) -> None:
    recommended: dict[str, Any] = {"temp": 0.5, "top_k": 20, "penalty_repeat": 1.25, "xtc": 1}
    path = make_gguf(**{f"general.sampling.{k}": v for k, v in recommended.items()})
    expected = {"temperature": 0.5, "top_k": 20, "repeat_penalty": 1.25}
    assert store.get(str(path)).params == expected
    modelfile = parse_modelfile(f"FROM {path}\nPARAMETER top_k 5\n")
    create_model(store, "mine", modelfile, path.parent, lambda line: None)
    assert store.get("mine").params == expected | {"top_k": 5}


@pytest.mark.parametrize("value", ["hot", float("nan"), float("inf")])
def test_recommended_sampling_must_be_numbers(
    store: Store, make_gguf: MakeGGUF, value: object
) -> None:
    path = make_gguf(general__sampling__temp=value)
    with pytest.raises(InvalidModelFile, match=r"general\.sampling\.temp is no number"):
        store.get(str(path))
