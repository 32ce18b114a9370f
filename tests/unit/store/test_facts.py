"""Facts from GGUF headers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import InvalidModelFile, ModelNotFound
from cama.gguf import GGUFFile
from cama.store.facts import parameter_size, read_facts
from tests.projectors import make_projector

MakeGGUF = Callable[..., Path]


def test_facts_of_a_model(make_gguf: MakeGGUF) -> None:
    facts = read_facts(make_gguf())
    assert (facts.kind, facts.architecture) == ("model", "llama")
    assert (facts.parameter_size, facts.quantization) == ("32", "F16")


@pytest.mark.parametrize(
    ("metadata", "fact", "value"),
    [
        ({"general.type": "adapter"}, "kind", "adapter"),
        ({"general.type": "adapter"}, "noun", "an adapter"),
        ({}, "noun", "a model"),
        ({"general.type": "mmproj"}, "kind", "projector"),
        ({"llama.vision.block_count": 2}, "kind", "model"),
        ({"general.architecture": "clip", "clip.vision.block_count": 2}, "kind", "projector"),
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


def test_projector_says_what_an_image_takes(tmp_path: Path) -> None:
    path = make_projector(tmp_path / "eyes.gguf", "gemma3")
    facts = read_facts(path)
    assert facts.kind == "projector"
    n_patches, width, n_ff = 64, 32, 64
    assert facts.image_bytes == 4 * n_patches * (n_ff + 4 * width)
    with GGUFFile.open(path) as file:
        assert facts.shape.weights_bytes == sum(t.n_bytes for t in file.tensors.values())
