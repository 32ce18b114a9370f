"""Importance matrices: what is measured, how it is kept, and what quantizing makes of it."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cama.cli.main import execute
from cama.core.errors import InvalidModelFile
from cama.engine.tokenizer import LlamaTokenizer
from cama.ggml._llama_abi import llama_model_imatrix_data
from cama.ggml.importance import ImportanceFile, Sums
from cama.ggml.llama import llama
from cama.gguf import GGMLType, GGUFFile, TensorSource, write_gguf
from cama.runner.jobs import Jobs

pytestmark = pytest.mark.native

MakeModel = Callable[..., Path]
TEXT = "a1 b22 c333 d4 e55 f666 " * 30
CHUNK = 64


@pytest.fixture(scope="session")
def measured(tiny_model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The matrix of the tiny model over the text, by the command."""
    folder = tmp_path_factory.mktemp("imatrix")
    text, out = folder / "text.txt", folder / "i.gguf"
    text.write_text(TEXT)
    command = ["imatrix", str(tiny_model("llama", "F16")), str(text), "-o", str(out)]
    assert execute([*command, "--ctx", str(CHUNK), "--chunks", "3"]) == 0
    return out


def test_inputs_of_the_first_layer_are_the_normed_embeddings(
    tiny_model: MakeModel, measured: Path
) -> None:
    found = ImportanceFile.read(measured)
    assert (found.chunk_count, found.chunk_size) == (3, CHUNK)
    path = tiny_model("llama", "F16")
    with LlamaTokenizer(path) as tokenizer:
        ids = tokenizer.encode(TEXT, add_special=True, parse_special=False)[: 3 * CHUNK]
    ids[::CHUNK] = [ids[0]] * 3  # each chunk begins as a text does
    with GGUFFile.open(path) as file:
        table = matrix(file, "token_embd.weight")[ids].astype(np.float64)
        norm = np.frombuffer(bytes(file.data("blk.0.attn_norm.weight")), np.float32)
    eps = 1e-5
    inputs = table / np.sqrt((table**2).mean(axis=1, keepdims=True) + eps) * norm
    for name in ("attn_q", "attn_k", "attn_v"):
        sums = found.sums[f"blk.0.{name}.weight"]
        np.testing.assert_allclose(sums.squares[0], (inputs**2).sum(axis=0), rtol=1e-3)
        assert sums.counts.tolist() == [3 * CHUNK]


def matrix(file: GGUFFile, name: str) -> NDArray[np.float16]:
    tensor = file.tensors[name]
    return np.frombuffer(bytes(file.data(name)), np.float16).reshape(tensor.shape[::-1])


def test_every_matrix_of_every_layer_is_measured(tiny_model: MakeModel, measured: Path) -> None:
    with GGUFFile.open(tiny_model("llama", "F16")) as file:
        matrices = {
            name: tensor.shape[0]
            for name, tensor in file.tensors.items()
            if name.startswith("blk.") and len(tensor.shape) == 2
        }
    sums = ImportanceFile.read(measured).sums
    assert {name: s.squares.shape[1] for name, s in sums.items()} == matrices
    assert all((s.squares > 0).any() and s.counts.tolist() == [3 * CHUNK] for s in sums.values())


def test_experts_are_measured_apart(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "moe.gguf"
    request = {
        "model": str(shared_data / "toy" / "qwen3moe.gguf"),
        "text": TEXT,
        "dataset": "t",
        "target": str(out),
        "chunk_size": 32,
        "n_chunks": 2,
        "n_threads": 1,
        "label": "reading",
    }
    Jobs().run("cama.runner.imatrix", request)
    sums = ImportanceFile.read(out).sums
    router = sums["blk.0.ffn_gate_inp.weight"]
    experts = sums["blk.0.ffn_gate_exps.weight"]
    n_used = experts.counts.sum() / router.counts.sum()
    assert n_used == round(n_used) >= 1
    assert len(experts.counts) > n_used
    # each token's squares are counted once for each expert that it is sent to
    total = router.squares.sum() * n_used
    np.testing.assert_allclose(experts.squares.sum(), total, rtol=1e-4)


def test_quantizing_with_it_is_what_llama_cpp_does_with_it(
    tiny_model: MakeModel, measured: Path, tmp_path: Path
) -> None:
    source, plain = tiny_model("llama", "F16"), tmp_path / "plain.gguf"
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    command = ["quantize", str(source)]
    assert execute([*command, str(ours), "iq4_xs", "--imatrix", str(measured)]) == 0
    assert execute([*command, str(plain), "iq4_xs"]) == 0
    table, kept = _table(measured)
    params = llama().llama_model_quantize_default_params()
    params.ftype, params.imatrix = 30, ctypes.addressof(table)
    paths = os.fsencode(source), os.fsencode(theirs)
    assert llama().llama_model_quantize(*paths, ctypes.addressof(params)) == 0
    assert kept
    with GGUFFile.open(ours) as a, GGUFFile.open(theirs) as b, GGUFFile.open(plain) as c:
        assert {n: bytes(a.data(n)) for n in a.tensors} == {n: bytes(b.data(n)) for n in b.tensors}
        assert bytes(a.data("blk.0.ffn_up.weight")) != bytes(c.data("blk.0.ffn_up.weight"))
        assert a.get("quantize.imatrix.file") == str(measured)[:127]
        assert a.get("quantize.imatrix.chunks_count") == 3
        assert a.get("quantize.imatrix.entries_count") == 14


def _table(path: Path) -> tuple[ctypes.Array[llama_model_imatrix_data], list[NDArray[np.float32]]]:
    """Means by tensor as libllama takes them, from the file's numbers alone."""
    with GGUFFile.open(path) as file:
        names = [n.removesuffix(".in_sum2") for n in file.tensors if n.endswith(".in_sum2")]
        kept: list[NDArray[np.float32]] = [
            np.divide(
                np.frombuffer(bytes(file.data(f"{n}.in_sum2")), np.float32),
                np.frombuffer(bytes(file.data(f"{n}.counts")), np.float32),
            )
            for n in names
        ]
    table = (llama_model_imatrix_data * (len(names) + 1))()
    for entry, name, values in zip(table, names, kept, strict=False):
        entry.name, entry.data, entry.size = name.encode(), values.ctypes.data, values.size
    return table, kept


def test_a_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    sums = {"blk.0.x.weight": Sums(np.ones((2, 3), np.float32), np.array([4, 0], np.float32))}
    with (tmp_path / "i.gguf").open("wb") as out:
        ImportanceFile(sums=sums, datasets=("d",), chunk_count=7, chunk_size=32).write(out)
    found = ImportanceFile.read(tmp_path / "i.gguf")
    assert (found.datasets, found.chunk_count, found.chunk_size) == (("d",), 7, 32)
    # of an expert that nothing was sent to, all columns matter alike
    assert found.sums["blk.0.x.weight"].means.tolist() == [0.25, 0.25, 0.25, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("kind", "tensors"),
    [
        ("model", {}),
        ("imatrix", {"a.in_sum2": (4,)}),
        ("imatrix", {"a.in_sum2": (4, 2), "a.counts": (1, 3)}),
        ("imatrix", {"a.in_sum2": (4, 2, 2), "a.counts": (1, 2)}),
    ],
)
def test_a_file_that_is_none_is_refused(
    tmp_path: Path, kind: str, tensors: dict[str, tuple[int, ...]]
) -> None:
    sources = [
        TensorSource(name, GGMLType.F32, shape, bytes(4 * int(np.prod(shape))))
        for name, shape in tensors.items()
    ]
    write_gguf(tmp_path / "i.gguf", {"general.type": kind}, sources)
    with pytest.raises(InvalidModelFile):
        ImportanceFile.read(tmp_path / "i.gguf")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--ctx", "8"], "--ctx must be from 16"),
        (["--ctx", "4096"], "fewer than 4096 tokens"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    tiny_model: MakeModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    complaint: str,
) -> None:
    out = tmp_path / "i.gguf"
    assert execute(["imatrix", str(tiny_model("llama", "F16")), "-o", str(out), *words]) == 1
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
