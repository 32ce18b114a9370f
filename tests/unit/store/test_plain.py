"""Plain GGUF files as models."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, InvalidModelName, ModelNotFound, UnsupportedModel
from cama.store.store import Store
from tests.splitting import split

MakeGGUF = Callable[..., Path]


def test_plain_file_by_absolute_path(store: Store, make_gguf: MakeGGUF) -> None:
    path = make_gguf()
    model = store.get(str(path))
    assert (model.name, model.path, model.is_file) == (str(path), path.resolve(), True)
    assert (model.family, model.families, model.format) == ("llama", ("llama",), "gguf")
    assert (model.parameter_size, model.quantization) == ("32", "F16")
    assert model.size == path.stat().st_size
    assert (model.template, model.params, model.messages) == (None, {}, [])


@pytest.mark.parametrize("name", ["./sub/a.gguf", "sub/a.gguf", "sub/../sub/a.gguf"])
def test_plain_file_by_relative_path(
    store: Store, make_gguf: MakeGGUF, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    path = make_gguf("sub/a.gguf")
    monkeypatch.chdir(tmp_path)
    model = store.get(name)
    assert (model.name, model.path) == (name, path.resolve())


def test_plain_file_by_name_in_the_current_folder(
    store: Store, make_gguf: MakeGGUF, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = make_gguf("a.gguf")
    monkeypatch.chdir(tmp_path)
    assert store.get("a.gguf").path == path.resolve()
    with pytest.raises(ModelNotFound):
        store.get("a")


def test_plain_file_below_the_home_folder(
    store: Store, make_gguf: MakeGGUF, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = make_gguf("a.gguf")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.get("~/a.gguf").path == path.resolve()


@pytest.mark.parametrize("name", ["guide", "guide:latest", "guide.gguf"])
def test_plain_file_in_a_searched_folder(root: Path, make_gguf: MakeGGUF, name: str) -> None:
    path = make_gguf("found/guide.gguf")
    store = Store(root, search=(path.parent.parent / "absent", path.parent))
    model = store.get(name)
    assert (model.name, model.path) == (name, path.resolve())


@pytest.mark.parametrize("name", ["guide:q4", "u/guide", "hf.co/u/guide"])
def test_plain_file_is_not_searched_for_a_longer_name(
    root: Path, make_gguf: MakeGGUF, name: str
) -> None:
    path = make_gguf("found/guide.gguf")
    with pytest.raises(ModelNotFound):
        Store(root, search=(path.parent,)).get(name)


def test_plain_file_gives_way_to_a_model_of_the_store(
    root: Path, make_gguf: MakeGGUF, put_model: Callable[..., Path]
) -> None:
    put_model("registry.ollama.ai/library/guide/latest")
    path = make_gguf("found/guide.gguf")
    assert not Store(root, search=(path.parent,)).get("guide").is_file


@pytest.mark.parametrize(
    "name", ["./no.gguf", "/no/such.gguf", "~/no.gguf", "~nobody-here/x", "/a\0b"]
)
def test_plain_file_that_is_missing(store: Store, name: str) -> None:
    with pytest.raises(ModelNotFound, match="there is no file"):
        store.get(name)


def test_plain_path_that_leads_nowhere_is_no_name_either(store: Store) -> None:
    with pytest.raises(InvalidModelName):
        store.get("some/other/folder/x.gguf")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"x" * 100, b"GGUF\x03\0\0\0" + b"\xff" * 16])
def test_plain_file_that_is_no_gguf(store: Store, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(InvalidModelFile):
        store.get(str(path))


def test_plain_folder_or_pipe_is_no_model(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    for name in (str(tmp_path), str(tmp_path / "pipe.gguf")):
        with pytest.raises(InvalidModelFile):
            store.get(name)


@pytest.mark.parametrize(("kind", "noun"), [("adapter", "an adapter"), ("mmproj", "a projector")])
def test_plain_file_that_is_only_a_part(
    store: Store, make_gguf: MakeGGUF, kind: str, noun: str
) -> None:
    with pytest.raises(UnsupportedModel, match=f"is no model but {noun}$"):
        store.get(str(make_gguf(general__type=kind)))


def test_plain_file_has_another_digest_when_it_changed(store: Store, make_gguf: MakeGGUF) -> None:
    path = make_gguf()
    before = store.get(str(path))
    os.utime(path, (1, 1))
    after = store.get(str(path))
    assert len(before.digest) == 64
    assert before.digest != after.digest


def test_plain_file_is_read_again_when_it_changed(store: Store, make_gguf: MakeGGUF) -> None:
    path = make_gguf()
    assert store.get(str(path)).quantization == "F16"
    make_gguf(general__file_type=15)
    assert store.get(str(path)).quantization == "Q4_K_M"


def test_plain_file_of_a_real_model(store: Store, shared_data: Path) -> None:
    model = store.get(str(shared_data / "stories260K" / "stories260K-p256-Q4_K_M.gguf"))
    assert (model.family, model.quantization) == ("llama", "Q4_K_M")


def test_plain_split_model_is_one_model(
    store: Store, make_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    whole = make_gguf()
    paths = split(whole, tmp_path / "parts", "m", 2)
    model = store.get(str(paths[1]))
    assert model.path == paths[0]
    assert model.parts == tuple(paths)
    assert model.size == sum(path.stat().st_size for path in paths)
    assert model.parameter_size == store.get(str(whole)).parameter_size == "32"
    paths[1].unlink()
    with pytest.raises(ModelNotFound, match="is not beside it"):
        store.get(str(paths[0]))


def test_plain_split_model_is_found_by_name(
    root: Path, make_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    paths = split(make_gguf(), tmp_path / "parts", "m", 2)
    assert Store(root, (tmp_path / "parts",)).get("m").parts == tuple(paths)


def test_plain_split_model_may_be_links(
    store: Store, make_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    paths = split(make_gguf(), tmp_path / "parts", "m", 2)
    links = []
    for number, path in enumerate(paths):
        blob = path.rename(tmp_path / f"blob{number}")
        path.symlink_to(blob)
        links.append(blob)
    assert store.get(str(paths[0])).parts == tuple(links)
