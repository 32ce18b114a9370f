"""The native engine computes what reference models compute, to the last digits of float32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cama.core.errors import InvalidModelFile, LoadFailed, UnsupportedModel
from cama.core.load import LoadOptions
from cama.engine.base import Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.engine import NativeEngine
from cama.engine.native.open import open_native
from cama.engine.select import open_engine
from cama.gguf import I32, U16, Array, GGMLType, GGUFFile, Scalar, TensorSource, write_gguf
from tests.models import toys
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

SEQ = SeqId(0)
# The goldens keep keys and values in float32
EXACT = LoadOptions(n_threads=1, cache_type="f32")


def _open(file: Path, name: str) -> NativeEngine:
    return NativeEngine.open(file, toys.NATIVE[name].load("f32"), "test", lambda _: None)


@pytest.mark.parametrize("name", toys.NATIVE)
def test_logits_equal_the_reference(
    shared_data: Path, toy_file: Callable[[str], Path], name: str
) -> None:
    engine, golden = _open(toy_file(name), name), toys.golden(shared_data, name)
    ids, tolerance = golden["ids"], toys.NATIVE[name].tolerance
    rows = np.concatenate(  # in three passes, so that windows and states go on where they were
        [
            engine.forward(Plan((Span(SEQ, a, ids[a:b], b - a),))).copy()
            for a, b in ((0, 17), (17, 18), (18, len(ids)))
        ]
    )
    assert np.abs(rows[-1] - golden["libllama"]["last_logits"]).max() <= tolerance
    assert np.abs(rows[-1] - golden["float64"]["last_logits"]).max() <= tolerance
    spread = np.log(np.exp(rows.astype(np.float64)).sum(axis=1))
    assert np.abs(spread - golden["libllama"]["logsumexp"]).max() <= tolerance
    engine.close()


@pytest.mark.parametrize("name", toys.NATIVE)
def test_greedy_ids_equal_the_reference(
    shared_data: Path, toy_file: Callable[[str], Path], name: str
) -> None:
    engine, golden = _open(toy_file(name), name), toys.golden(shared_data, name)
    tokens = list(golden["ids"])
    start = 0
    for _ in golden["libllama"]["greedy_16"]:
        row = engine.forward(Plan((Span(SEQ, start, tokens[start:], 1),)))[0]
        start = len(tokens)
        tokens.append(int(row.argmax()))
    assert tokens[len(golden["ids"]) :] == golden["libllama"]["greedy_16"]
    engine.close()


def test_every_reference_model_that_the_native_engine_takes_is_in_the_table(
    shared_data: Path,
) -> None:
    taken = set()
    for file in (shared_data / "toy").glob("*.gguf"):
        try:
            open_native(file, EXACT, "test", lambda _: None).close()
        except UnsupportedModel:
            continue
        except LoadFailed:  # it has no vocabulary, which comes last
            pass
        taken.add(file.stem)
    assert taken == set(toys.NATIVE) | toys.ENCODERS


UNKNOWN: dict[str, tuple[dict[str, Any], dict[str, NDArray[np.float32]], str]] = {
    "rope": ({"llama.rope.scaling.type": "spiral"}, {}, "rope scaling 'spiral'"),
    "tensor": ({}, {"blk.0.surprise.weight": np.ones(4, np.float32)}, "blk.0.surprise.weight"),
    "architecture": ({"general.architecture": "camel"}, {}, "no definition of 'camel'"),
    "pooling": ({"llama.pooling_type": 7}, {}, "this kind of pooling"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_implemented_is_refused_with_a_reason(
    tiny_model: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    metadata, tensors, reason = UNKNOWN[case]
    path = rewrite(tiny_model("llama"), tmp_path / "unknown.gguf", metadata, tensors)
    with pytest.raises(UnsupportedModel, match=reason):
        NativeEngine.open(path, EXACT, "test", lambda _: None)


def test_a_factor_that_is_not_one_number_is_refused(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    factors = {"blk.0.attn_q.scale": np.ones(256, np.float32)}
    path = rewrite(tiny_model("llama"), tmp_path / "factors.gguf", {}, factors)
    with pytest.raises(InvalidModelFile, match=r"blk\.0\.attn_q\.scale is not one number"):
        NativeEngine.open(path, EXACT, "test", lambda _: None)


def _older_form(original: Path, target: Path) -> Path:
    """Qwen 3 Next as its first converter wrote it: queries, keys, values and gates in one."""
    with GGUFFile.open(original) as file:
        n_key, n = (file.get(f"qwen3next.ssm.{key}") for key in ("group_count", "state_size"))
        assert isinstance(n_key, int)
        assert isinstance(n, int)
        matrices = {
            t.name: np.frombuffer(bytes(file.data(t.name)), np.float32).reshape(t.shape[::-1])
            for t in file.tensors.values()
        }
        for name in [name for name in matrices if name.endswith("attn_qkv.weight")]:
            block = name.removesuffix("attn_qkv.weight")
            q, k, v = np.split(matrices.pop(name), [n_key * n, 2 * n_key * n])
            z = matrices.pop(f"{block}attn_gate.weight")
            parts = [part.reshape(n_key, -1, q.shape[1]) for part in (q, k, v, z)]
            fused = np.concatenate(parts, axis=1).reshape(-1, q.shape[1])
            matrices[f"{block}ssm_in.weight"] = fused
        tensors = [
            TensorSource(name, GGMLType.F32, values.shape[::-1], values.tobytes())
            for name, values in matrices.items()
        ]
        write_gguf(target, {key: file.typed(key) for key in file.metadata}, tensors)
    return target


def test_a_form_that_only_libllama_knows_is_left_to_it(shared_data: Path, tmp_path: Path) -> None:
    original = shared_data / "toy" / "qwen3next.gguf"
    older = _older_form(original, tmp_path / "older.gguf")
    with pytest.raises(InvalidModelFile, match="has no tensor"):
        open_native(older, EXACT, "test", lambda _: None)
    rows = []
    for path, name in ((original, "native"), (older, "llama")):
        engine = open_engine(path, EXACT, lambda _: None)
        assert engine.info.engine == name
        assert engine.tokenizer.decode([1, 2, 3]) is not None  # its vocabulary is read by now
        rows.append(engine.forward(Plan((Span(SEQ, 0, [1, 2, 3], 1),))).copy())
        engine.close()
    assert np.abs(rows[0] - rows[1]).max() < 1e-5


def _split(whole: Path, folder: Path) -> Path:
    """The model as two files, as llama.cpp's tools split one; returns the first."""
    with GGUFFile.open(whole) as file:
        names = list(file.tensors)
        half = len(names) // 2
        metadata: dict[str, Scalar | Array] = {key: file.typed(key) for key in file.metadata}
        for number, part in enumerate((names[:half], names[half:])):
            place: dict[str, Scalar | Array] = {
                "split.no": U16(number),
                "split.count": U16(2),
                "split.tensors.count": I32(len(names)),
            }
            tensors = [
                TensorSource(name, info.type, info.shape, bytes(file.data(name)))
                for name in part
                for info in (file.tensors[name],)
            ]
            path = folder / f"split-{number + 1:05}-of-00002.gguf"
            write_gguf(path, (metadata if number == 0 else {}) | place, tensors)
    return folder / "split-00001-of-00002.gguf"


def test_a_model_in_several_files_is_left_to_libllama(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = _split(tiny_model("qwen3"), tmp_path)
    with pytest.raises(UnsupportedModel, match="split over 2 files"):
        NativeEngine.open(path, EXACT, "test", lambda _: None)
    engine = open_engine(path, EXACT, lambda _: None)
    assert (engine.info.engine, engine.info.reason) == ("llama", "the model is split over 2 files")
    rows = engine.forward(Plan((Span(SEQ, 0, [1, 2, 3], 1),))).copy()
    engine.close()
    whole = LlamaEngine.open(tiny_model("qwen3"), EXACT, "test", lambda _: None)
    assert np.array_equal(whole.forward(Plan((Span(SEQ, 0, [1, 2, 3], 1),))), rows)
    whole.close()
