"""``create``, up to where the model store takes over."""

import shutil
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cama


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMA_MODELS", str(tmp_path / "models"))
    return tmp_path


def test_create_refuses_a_bad_name(cama: Cama) -> None:
    assert cama("create", "a b").err == "Error: invalid model name: a b\n"


def test_create_without_a_modelfile_takes_the_folder(
    cama: Cama, folder: Path, shared_data: Path
) -> None:
    shutil.copyfile(shared_data / "toy-ollama" / "ollama-gemma3.gguf", folder / "toy.gguf")
    outcome = cama("create", "m")
    assert outcome.status == 0, outcome.err


def test_create_without_anything_names_the_folder(cama: Cama, folder: Path) -> None:
    outcome = cama("create", "m")
    assert outcome.status == 1
    assert outcome.err == (
        "gathering model components\n"
        f"Error: no Modelfile, GGUF or safetensors files found in {folder}\n"
    )


@pytest.mark.parametrize("file", ["nofile", "Modelfile", "no/Modelfile"])
def test_create_names_a_modelfile_that_is_missing(cama: Cama, file: str) -> None:
    outcome = cama("create", "m", "-f", file)
    assert outcome.status == 1
    assert outcome.err == f"gathering model components\nError: there is no Modelfile {file}\n"


def test_create_of_a_bad_modelfile_is_one_line(cama: Cama, folder: Path) -> None:
    (folder / "Recipe").write_text("BAKE bread\n")
    outcome = cama("create", "m", "-f", "Recipe")
    assert outcome.status == 1
    assert outcome.err.startswith("gathering model components\nError: (line 1): command must be")


def test_create_makes_a_model(cama: Cama, folder: Path, shared_data: Path) -> None:
    model = shared_data / "toy-ollama" / "ollama-gemma3.gguf"
    (folder / "Modelfile").write_text(f"FROM {model}\nSYSTEM Be brief.\n")
    outcome = cama("create", "made")
    assert outcome.status == 0, outcome.err
    assert outcome.out == ""
    assert outcome.err.splitlines()[-1] == "success"
