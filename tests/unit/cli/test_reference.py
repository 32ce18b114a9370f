"""How a model is named to the server."""

from pathlib import Path

import pytest

from cama.cli.reference import model_reference
from cama.core.errors import ModelNotFound


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.gguf"
    path.touch()
    return path


@pytest.mark.parametrize("text", ["tiny.gguf", "./tiny.gguf"])
def test_existing_file_is_sent_by_its_absolute_path(file: Path, text: str) -> None:
    assert Path(model_reference(text)) == file


def test_absolute_path_stays(file: Path) -> None:
    assert model_reference(str(file)) == str(file)


@pytest.mark.parametrize("text", ["llama3", "user/model:tag", "hf.co/a/b", "other.gguf"])
def test_name_is_sent_as_typed(file: Path, text: str) -> None:
    assert model_reference(text) == text


def test_plain_name_is_not_a_file_of_the_current_folder(file: Path) -> None:
    (file.parent / "llama3").touch()
    assert model_reference("llama3") == "llama3"


@pytest.mark.parametrize("text", ["./absent.gguf", "/absent/x", "~/absent.gguf"])
def test_path_to_nothing_is_a_missing_model(file: Path, text: str) -> None:
    with pytest.raises(ModelNotFound, match="no such model file"):
        model_reference(text)
