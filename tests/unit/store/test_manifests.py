"""The tree of manifests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cama.store.manifests import Manifests
from cama.store.names import ModelName


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    return Manifests(tmp_path / "manifests")


@pytest.fixture
def put(manifests: Manifests) -> Callable[[str], None]:
    def put(path: str) -> None:
        file = manifests.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")

    return put


def test_manifests_of_a_missing_folder_are_none(manifests: Manifests) -> None:
    assert list(manifests.names()) == []
    assert manifests.find(ModelName.parse("m")) is None


def test_manifests_names_are_files_four_levels_deep(
    manifests: Manifests, put: Callable[[str], None]
) -> None:
    for path in (
        "h/n/m/t",
        "h/n/m/.hidden",
        "h/n/m/deep/er",
        "h/n/flat",
        "h/n/bad name/t",
        "h/n.s/m/t",
    ):
        put(path)
    assert [name.full for name in manifests.names()] == ["h/n/m:t"]


@pytest.mark.parametrize("text", ["h/n/model:tag", "H/N/MODEL:TAG", "h/n/Model:Tag"])
def test_manifests_find_ignores_case(
    manifests: Manifests, put: Callable[[str], None], text: str
) -> None:
    put("h/N/Model/Tag")
    found = manifests.find(ModelName.parse(text))
    assert found is not None
    assert found.full == "h/N/Model:Tag"


def test_manifests_find_prefers_the_same_case(
    manifests: Manifests, put: Callable[[str], None]
) -> None:
    put("h/n/M/t")
    put("h/n/m/t")
    for text in ("h/n/M:t", "h/n/m:t"):
        found = manifests.find(ModelName.parse(text))
        assert found is not None
        assert found.full == text


def test_manifests_find_looks_behind_a_folder_of_the_same_case(
    manifests: Manifests, put: Callable[[str], None]
) -> None:
    put("h/n/m/other")
    put("h/n/M/t")
    found = manifests.find(ModelName.parse("h/n/m:t"))
    assert found is not None
    assert found.full == "h/n/M:t"


@pytest.mark.parametrize(
    ("text", "spelled"),
    [("h/n/model:new", "h/n/Model:new"), ("H/n/x:t", "h/n/x:t"), ("x/y/z:t", "x/y/z:t")],
)
def test_manifests_spell_takes_over_what_exists(
    manifests: Manifests, put: Callable[[str], None], text: str, spelled: str
) -> None:
    put("h/n/Model/Tag")
    assert manifests.spell(ModelName.parse(text)).full == spelled


def test_manifests_write_leaves_only_the_manifest(manifests: Manifests) -> None:
    name = ModelName.parse("h/n/m:t")
    manifests.write(name, b"one")
    manifests.write(name, b"two")
    assert manifests.read(name) == b"two"
    assert [path.name for path in manifests.path(name).parent.iterdir()] == ["t"]
    assert manifests.path(name).stat().st_mode & 0o777 == 0o644


def test_manifests_remove_takes_empty_folders_along(
    manifests: Manifests, put: Callable[[str], None]
) -> None:
    put("h/n/m/t")
    put("h/other/m/t")
    manifests.remove(ModelName.parse("h/n/m:t"))
    assert sorted(path.name for path in (manifests.folder / "h").iterdir()) == ["other"]


def test_manifests_remove_keeps_the_root(manifests: Manifests, put: Callable[[str], None]) -> None:
    put("h/n/m/t")
    manifests.remove(ModelName.parse("h/n/m:t"))
    assert list(manifests.folder.iterdir()) == []
