"""Real vocabularies and models."""

from pathlib import Path

import pytest

from cama.gguf import GGUFFile, TensorSource, write_gguf
from cama.gguf.file_types import UNKNOWN

FOLDERS = ["tokenizers", "stories260K", "embedding", "toy", "toy-ollama"]


def copy(source: Path, target: Path) -> None:
    with GGUFFile.open(source) as file:
        write_gguf(
            target,
            {key: file.typed(key) for key in file.metadata},
            [
                TensorSource(t.name, t.type, t.shape, file.data(t.name))
                for t in file.tensors.values()
            ],
            alignment=file.alignment,
        )


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_real_file_is_read_completely(shared_data: Path, folder: str) -> None:
    paths = sorted((shared_data / folder).glob("*.gguf"))
    assert paths
    for path in paths:
        with GGUFFile.open(path) as file:
            assert file.architecture
            assert len(dict(file.metadata)) == len(file.metadata)
            for name, tensor in file.tensors.items():
                assert len(file.data(name)) == tensor.n_bytes


@pytest.mark.parametrize("folder", ["stories260K", "toy", "toy-ollama"])
def test_copy_of_a_real_file_is_the_same_file(
    shared_data: Path, tmp_path: Path, folder: str
) -> None:
    for path in sorted((shared_data / folder).glob("*.gguf")):
        copy(path, tmp_path / "copy.gguf")
        assert (tmp_path / "copy.gguf").read_bytes() == path.read_bytes(), path.name


def test_real_vocabulary_is_decoded_as_written(shared_data: Path) -> None:
    with GGUFFile.open(shared_data / "tokenizers" / "ggml-vocab-llama-bpe.gguf") as file:
        tokens = file.metadata["tokenizer.ggml.tokens"]
        assert isinstance(tokens, list)
        assert len(tokens) == file.array_length("tokenizer.ggml.tokens") == 128_256
        assert tokens[0] == "!"
        assert tokens[128_000] == "<|begin_of_text|>"


def test_file_type_of_real_quantizations_is_in_their_names(shared_data: Path) -> None:
    for path in sorted((shared_data / "stories260K").glob("*.gguf")):
        with GGUFFile.open(path) as file:
            expected = path.stem.rsplit("-", 1)[1].replace("F32", UNKNOWN)
            assert file.file_type_name == expected
