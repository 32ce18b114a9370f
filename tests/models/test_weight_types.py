"""Every type of weights that ggml computes with: native equals libllama."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import make_model as making
from benchmarks.make_model import make_model
from benchmarks.shapes import TINY_MOE
from cama.core.errors import UnsupportedModel
from cama.core.load import LoadOptions
from cama.engine.base import Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.engine import NativeEngine
from cama.ggml.quantize import quantize
from cama.gguf import GGMLType, GGUFFile, TensorSource, write_gguf

pytestmark = pytest.mark.native

LOAD = LoadOptions(n_ctx=256, n_batch=64, n_cells=256, n_threads=2)
NO_WEIGHTS = {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"}
"""Those of activations, of indices, and of nothing that ggml multiplies."""
TYPES = [kind.name for kind in GGMLType if kind.name not in NO_WEIGHTS]
SHAPE = replace(TINY_MOE, n_layer=1)
"""With an embedding, matrices and experts."""


_SCALE = np.float16(2**-7).view(np.uint16)


def _blocks(kind: GGMLType, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Rows of a type whose quantizer would first build tables for seconds: any bits are a block,
    behind or around a scale of half precision."""
    if not kind.name.startswith(("IQ1", "IQ2")):
        return quantize(kind, values)
    n_rows, n_row = values.shape
    shape = (n_rows, n_row // kind.block_size, kind.type_size)
    blocks = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if kind is GGMLType.IQ1_M:  # the upper bits of the last four shorts
        shorts = blocks[..., -8:].view(np.uint16)
        for i in range(4):
            shorts[..., i] = (shorts[..., i] & 0x0FFF) | (int(_SCALE) >> 4 * i & 15) << 12
    else:
        blocks[..., :2].view(np.uint16)[:] = _SCALE
    return blocks.reshape(n_rows, -1)


@pytest.fixture(autouse=True)
def _quick_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "quantize", _blocks)
    monkeypatch.setattr(making, "_CHUNK_ELEMENTS", 1 << 13)


@pytest.mark.parametrize("kind", TYPES)
def test_engines_agree_on_every_type(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.gguf"
    make_model(path, SHAPE, kind)
    with GGUFFile.open(path) as file:
        assert sum(t.type.name == kind for t in file.tensors.values()) >= 8
    rows = []
    for engine_type in (NativeEngine, LlamaEngine):
        engine = engine_type.open(path, LOAD, "test", lambda _: None)
        ids = [3 + i * 7 % 500 for i in range(40)]
        plans = [Span(SeqId(0), 0, ids[:33], 5), Span(SeqId(0), 33, ids[33:34], 1)]
        plans.append(Span(SeqId(0), 34, ids[34:], 6))
        rows.append([engine.forward(Plan((span,))).copy() for span in plans])
        engine.close()
    for native, llama in zip(*rows, strict=True):
        assert np.isfinite(native).all()
        assert native.std() > 0.01
        np.testing.assert_array_equal(native, llama)


@pytest.mark.parametrize("kind", sorted(NO_WEIGHTS))
def test_a_type_that_nothing_multiplies_is_refused(tmp_path: Path, kind: str) -> None:
    """Before anything is computed: ggml would end the process."""
    made, path = tmp_path / "made.gguf", tmp_path / "model.gguf"
    make_model(made, SHAPE, "F16")
    with GGUFFile.open(made) as file:
        head = {key: file.typed(key) for key in file.metadata}
        tensors = [
            TensorSource(t.name, t.type, t.shape, bytes(file.data(t.name)))
            if "attn_q.w" not in t.name
            else TensorSource(
                t.name, GGMLType[kind], t.shape, bytes(GGMLType[kind].n_bytes(t.shape))
            )
            for t in file.tensors.values()
        ]
        write_gguf(path, head, tensors)
    for engine_type in (NativeEngine, LlamaEngine):
        with pytest.raises(UnsupportedModel, match=rf"blk\.0\.attn_q\.weight.*{kind}"):
            engine_type.open(path, LOAD, "test", lambda _: None)
