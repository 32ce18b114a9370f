"""Models of split files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cama.core.errors import CamaError, InvalidModelfile, ModelNotFound, Unsupported
from cama.modelfile.create import create_from_recipe, create_model
from cama.modelfile.grouping import grouped
from cama.modelfile.parser import parse_modelfile
from cama.modelfile.recipe import Recipe
from cama.modelfile.writer import write_modelfile
from cama.store.store import Store
from tests.splitting import split

MakeGGUF = Callable[..., Path]


@pytest.fixture
def parts(make_gguf: MakeGGUF, folder: Path) -> list[Path]:
    return split(make_gguf(), folder / "parts", "m", 3)


def ignore(_: str) -> None:
    pass


def contents(store: Store, name: str) -> list[bytes]:
    return [path.read_bytes() for path in store.get(name).parts]


@pytest.mark.parametrize("source", ["parts", "parts/m-00001-of-00003.gguf"])
def test_create_from_parts(store: Store, parts: list[Path], folder: Path, source: str) -> None:
    create_model(store, "m", parse_modelfile(f"FROM ./{source}\n"), folder, ignore)
    assert contents(store, "m") == [part.read_bytes() for part in parts]
    model = store.get("m")
    assert model.path == model.parts[0]
    assert model.parameter_size == store.get(str(parts[0])).parameter_size
    assert store.examine().findings == []
    store.delete("m")
    assert list(store.blobs.folder.iterdir()) == []


def test_create_from_a_model_of_parts(store: Store, parts: list[Path], folder: Path) -> None:
    create_model(store, "m", parse_modelfile(f"FROM {parts[0]}\n"), folder, ignore)
    create_model(store, "n", parse_modelfile("FROM m\nSYSTEM Be brief.\n"), folder, ignore)
    assert store.get("n").parts == store.get("m").parts


def test_create_from_what_show_wrote_of_parts(
    store: Store, parts: list[Path], folder: Path
) -> None:
    create_model(store, "m", parse_modelfile(f"FROM {parts[0]}\n"), folder, ignore)
    text = write_modelfile(store.get("m"))
    create_model(store, "n", parse_modelfile(text), folder, ignore)
    assert store.get("n").parts == store.get("m").parts


def test_create_from_some_of_the_parts_is_refused(
    store: Store, parts: list[Path], folder: Path
) -> None:
    blobs = [part.rename(folder / f"blob{i}") for i, part in enumerate(parts)]
    with pytest.raises(InvalidModelfile, match="split over 3 files, and 2 are given"):
        create_from_recipe(store, "m", Recipe(files=tuple(blobs[:2])), ignore)
    with pytest.raises(CamaError, match=r"split\.no is not that of part 2"):
        create_from_recipe(store, "m", Recipe(files=(blobs[0], blobs[2], blobs[2])), ignore)
    assert grouped(reversed(blobs)) == [tuple(blobs)]


def test_create_misses_a_part(store: Store, parts: list[Path], folder: Path) -> None:
    parts[2].unlink()
    with pytest.raises(ModelNotFound, match=r"m-00003-of-00003\.gguf is not beside it"):
        create_model(store, "m", parse_modelfile(f"FROM {parts[0]}\n"), folder, ignore)


def test_create_does_not_quantize_parts(store: Store, parts: list[Path], folder: Path) -> None:
    modelfile = parse_modelfile(f"FROM {parts[0]}\n")
    with pytest.raises(Unsupported, match="merge it first"):
        create_model(store, "m", modelfile, folder, ignore, quantize="q8_0")
