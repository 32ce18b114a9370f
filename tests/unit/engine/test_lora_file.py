"""Adapter files: what is wrong with one is said by name, before any native code sees it."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.engine.lora import Base, LoraFile
from cama.gguf import F32, F64, GGMLType, TensorSource, write_gguf
from cama.gguf.encode import Writable
from tests.adapters import encoded

Q, DOWN, EMBED, EXPERTS = (
    "blk.0.attn_q.weight", "blk.0.ffn_down.weight", "token_embd.weight", "blk.0.ffn_up_exps.weight",
)  # fmt: skip
BASE = Base(
    "llama",
    {Q: (64, 32), DOWN: (96, 64), EMBED: (64, 300), EXPERTS: (64, 32, 3)},
    lambda name: name != EMBED,
)
FACTS: Mapping[str, Writable] = {
    "general.type": "adapter",
    "general.architecture": "llama",
    "adapter.type": "lora",
    "adapter.lora.alpha": F32(8.0),
}


def numbers(*shape: int) -> Any:
    """Of a NumPy shape."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 100


def pair(name: str = Q, rank: int = 4, n_in: int = 64, n_out: int = 32) -> list[TensorSource]:
    return [
        encoded(f"{name}.lora_a", numbers(rank, n_in)),
        encoded(f"{name}.lora_b", numbers(n_out, rank)),
    ]


def write(path: Path, tensors: list[TensorSource], **facts: Any) -> Path:
    named = {key.replace("__", "."): value for key, value in facts.items()}
    given = {key: value for key, value in {**FACTS, **named}.items() if value is not None}
    write_gguf(path, given, tensors)
    return path


def test_matrices_and_scale_are_those_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", [*pair(), *pair(DOWN, 2, 96, 64)])
    with LoraFile.open(path, BASE) as file:
        a, b = file.matrices(DOWN)
        assert (a == numbers(2, 96)).all()
        assert (b == numbers(64, 2)).all()
        assert (file.scale(Q), file.scale(DOWN)) == (2.0, 4.0)


@pytest.mark.parametrize("alpha", [None, F32(0.0)])
def test_without_an_alpha_the_product_is_added_as_it_is(tmp_path: Path, alpha: Any) -> None:
    path = write(tmp_path / "a.gguf", pair(), adapter__lora__alpha=alpha)
    with LoraFile.open(path, BASE) as file:
        assert file.scale(Q) == 1.0


@pytest.mark.native
@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [(GGMLType.F16, 1e-3), (GGMLType.BF16, 1e-2), (GGMLType.Q8_0, 2e-2), (GGMLType.Q4_0, 0.3)],
)
def test_every_type_of_numbers_is_read(tmp_path: Path, kind: GGMLType, tolerance: float) -> None:
    a = encoded(f"{Q}.lora_a", numbers(4, 64), kind)
    with LoraFile.open(write(tmp_path / "a.gguf", [a, pair()[1]]), BASE) as file:
        assert np.abs(file.matrices(Q)[0] - numbers(4, 64)).max() <= tolerance


def test_experts_have_a_matrix_each(tmp_path: Path) -> None:
    tensors = [
        encoded(f"{EXPERTS}.lora_a", numbers(3, 4, 64)),
        encoded(f"{EXPERTS}.lora_b", numbers(3, 32, 4)),
    ]
    with LoraFile.open(write(tmp_path / "a.gguf", tensors), BASE) as file:
        assert file.pairs[EXPERTS].rank == 4


def short(name: str, *shape: int) -> TensorSource:
    return encoded(name, numbers(*shape))


HOSTILE: list[tuple[list[TensorSource], dict[str, Any], str]] = [
    (pair(), {"general__type": "model"}, "it is no adapter: general.type is model"),
    (pair(), {"general__type": None}, "general.type is missing"),
    (pair(), {"general__type": "x\n" * 500}, r"general.type is x\\nx"),
    (pair(), {"general__architecture": "qwen2"}, "is for qwen2, the model is llama"),
    (pair(), {"adapter__type": "ia3"}, "adapter.type is ia3, only lora is known"),
    (pair(), {"adapter__type": None}, "adapter.type is missing"),
    (pair(), {"adapter__lora__alpha": "8"}, "adapter.lora.alpha is not a float32"),
    (pair(), {"adapter__lora__alpha": F64(8.0)}, "adapter.lora.alpha is not a float32"),
    (pair(), {"adapter__lora__alpha": F32(float("nan"))}, "adapter.lora.alpha is nan"),
    ([], {}, "it holds no tensors"),
    (pair()[:1], {}, f"{Q} has no lora_b"),
    (pair()[1:], {}, f"{Q} has no lora_a"),
    ([*pair(), short("output_norm.weight", 64)], {}, "output_norm.weight is neither lora_a nor"),
    (pair("blk.7.attn_q.weight"), {}, "the model has no tensor blk.7.attn_q.weight"),
    (pair("blk\n.attn_q"), {}, r"the model has no tensor blk\\n.attn_q"),
    (pair(n_in=60), {}, f"{Q}.lora_a is \\[60, 4\\], {Q} needs \\[64, 4\\]"),
    (pair(n_out=33), {}, f"{Q}.lora_b is \\[4, 33\\], {Q} needs \\[4, 32\\]"),
    ([pair()[0], short(f"{Q}.lora_b", 32, 5)], {}, r"lora_a is \[64, 4\], .* needs \[64, 5\]"),
    ([short(f"{Q}.lora_a", 64, 4), pair()[1]], {}, r"lora_a is \[4, 64\]"),
    ([short(f"{Q}.lora_a", 2, 4, 64), pair()[1]], {}, r"lora_a is \[64, 4, 2\]"),
    ([pair()[0], short(f"{Q}.lora_b", 2, 1, 32, 4)], {}, r"lora_b is \[4, 32, 1, 2\]"),
    (pair(EXPERTS), {}, f"{EXPERTS}.lora_a is \\[64, 4\\], {EXPERTS} needs \\[64, 4, 3\\]"),
    (pair(rank=65), {}, f"{Q} has the rank 65"),
    ([TensorSource(f"{Q}.lora_a", GGMLType.I32, (64, 4), bytes(1024)), pair()[1]], {},
     "lora_a has the type I32"),
]  # fmt: skip


@pytest.mark.parametrize(("tensors", "facts", "message"), HOSTILE)
def test_hostile_file_is_refused_and_named(
    tmp_path: Path, tensors: list[TensorSource], facts: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "a.gguf", tensors, **facts)
    with pytest.raises(InvalidModelFile, match=message) as caught:
        LoraFile.open(path, BASE)
    assert caught.value.fields["path"] == str(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("tensors", "facts", "message"),
    [
        (pair(EMBED, 4, 64, 300), {}, "an adapter cannot change token_embd.weight"),
        (pair(), {"adapter__alora__invocation_tokens": [1, 2]}, "activated by tokens in the text"),
    ],
)
def test_what_no_engine_does_is_refused(
    tmp_path: Path, tensors: list[TensorSource], facts: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        LoraFile.open(write(tmp_path / "a.gguf", tensors, **facts), BASE)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    a, b = pair()
    data = bytearray(a.data)  # type: ignore[arg-type]
    struct.pack_into("<f", data, 40, value)
    path = write(tmp_path / "a.gguf", [TensorSource(a.name, a.type, a.shape, bytes(data)), b])
    with (
        LoraFile.open(path, BASE) as file,
        pytest.raises(InvalidModelFile, match=r"lora_a holds infinite numbers or NaN"),
    ):
        file.check_numbers()


@pytest.mark.parametrize("n_bytes", [0, 30, 300, 1500])
def test_cut_file_is_refused(tmp_path: Path, n_bytes: int) -> None:
    path = write(tmp_path / "a.gguf", pair())
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(InvalidModelFile):
        LoraFile.open(path, BASE)
