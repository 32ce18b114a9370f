"""Facts from GGUF headers, and how they are described."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import InvalidModelFile, ModelNotFound
from cama.gguf import GGUFFile
from cama.store.describe import model_info, parameter_size, tensor_list
from cama.store.facts import read_facts

MakeGGUF = Callable[..., Path]


def test_facts_of_a_model(make_gguf: MakeGGUF) -> None:
    path = make_gguf(
        llama__context_length=2048, llama__embedding_length=8, tokenizer__chat_template="{{ x }}"
    )
    facts = read_facts(path)
    assert (facts.kind, facts.architecture, facts.quantization) == ("model", "llama", "F16")
    assert (facts.parameter_count, facts.n_ctx_train, facts.n_embd) == (32, 2048, 8)
    assert facts.chat_template == "{{ x }}"
    assert (facts.is_embedding, facts.has_vision, facts.has_audio) == (False, False, False)


@pytest.mark.parametrize(
    ("metadata", "fact", "value"),
    [
        ({"general.type": "adapter"}, "kind", "adapter"),
        ({"general.type": "mmproj"}, "kind", "projector"),
        ({"llama.vision.block_count": 2}, "has_vision", True),
        ({"llama.vision.block_count": 2}, "kind", "model"),
        ({"general.architecture": "clip", "clip.vision.block_count": 2}, "kind", "projector"),
        ({"llama.audio.block_count": 2}, "has_audio", True),
        ({"llama.pooling_type": 1}, "is_embedding", True),
        ({"llama.context_length": "many"}, "n_ctx_train", 0),
        ({"llama.context_length": [1, 2]}, "n_ctx_train", 0),
        ({"tokenizer.chat_template": 3}, "chat_template", None),
        ({"general.file_type": 99}, "quantization", "unknown"),
    ],
)
def test_facts_follow_the_metadata(
    make_gguf: MakeGGUF, metadata: dict[str, Any], fact: str, value: object
) -> None:
    assert getattr(read_facts(make_gguf(**metadata)), fact) == value


def test_facts_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        read_facts(tmp_path / "no.gguf")


def test_facts_need_an_architecture(make_gguf: MakeGGUF) -> None:
    with pytest.raises(InvalidModelFile, match="architecture"):
        read_facts(make_gguf(general__architecture=7))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (8_030_261_248, "8.0B"),
        (8_000_000_000, "8B"),
        (70_600_000_000, "70.6B"),
        (125_000_000, "125M"),
        (134_515_008, "134.52M"),
        (260_032, "260K"),
        (999, "999"),
        (0, "0"),
    ],
)
def test_parameter_size_is_rounded_for_people(count: int, text: str) -> None:
    assert parameter_size(count) == text


def test_model_info_leaves_out_arrays_the_name_and_the_template(make_gguf: MakeGGUF) -> None:
    path = make_gguf(general__name="x", tokenizer__chat_template="y", tokens=["a", "b"])
    with GGUFFile.open(path) as gguf:
        info = model_info(gguf)
        assert info["tokens"] is None
        assert model_info(gguf, arrays=True)["tokens"] == ["a", "b"]
    assert info["general.architecture"] == "llama"
    assert info["general.parameter_count"] == 32
    assert not {"general.name", "tokenizer.chat_template"} & info.keys()


def test_tensor_list_names_types_and_shapes(make_gguf: MakeGGUF) -> None:
    with GGUFFile.open(make_gguf()) as gguf:
        assert tensor_list(gguf) == [{"name": "token_embd.weight", "type": "F32", "shape": [8, 4]}]
