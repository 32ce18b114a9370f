"""Architectures that other packages bring, from the example that the documentation points to."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cama.cli.main import execute
from cama.core.errors import CamaError, LoadFailed, PluginConflict, UnsupportedModel
from cama.core.load import LoadOptions
from cama.engine.base import Plan, SeqId, Span
from cama.engine.native import plugins
from cama.engine.native.open import open_native
from cama.engine.select import open_engine
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "camel"
LOAD = LoadOptions(n_ctx=256, n_batch=64, n_threads=1, cache_type="f32")

Install = Callable[[str, str, str], None]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example, as from any other source."""
    folder = tmp_path_factory.mktemp("camel")
    # a build leaves files beside its sources
    source = shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, timeout=100)
    return target


@pytest.fixture
def camel(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, dict[str, NDArray[np.float32]]]]:
    """The example's model and its weights, with the package on the path of this process."""
    monkeypatch.syspath_prepend(str(installed))
    plugins.named.cache_clear()
    write = pytest.importorskip("cama_camel.write")
    path, weights = tmp_path / "camel.gguf", write.weights()
    write.write(path, weights)
    yield path, weights
    plugins.named.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package on the path: its name, an entry point, and the source of its one module."""

    def put(name: str, entry: str, source: str) -> None:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{entry}\n")
        (folder / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))
        plugins.named.cache_clear()

    yield put
    plugins.named.cache_clear()


def _rms(x: NDArray[np.float64], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    normed: NDArray[np.float64] = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight
    return normed


def _rotated(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """x (n_tokens, n_head, n), neighbouring elements as pairs."""
    n = x.shape[-1]
    angles = np.arange(len(x))[:, None] * 10000.0 ** (-np.arange(0, n, 2) / n)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    a, b = x[..., ::2], x[..., 1::2]
    return np.stack((a * cos - b * sin, a * sin + b * cos), -1).reshape(x.shape)


def _reference(w: dict[str, NDArray[np.float32]], ids: list[int]) -> NDArray[np.float64]:
    """The logits of a camel in double precision, without any of Cama's code."""
    x = w["token_embd.weight"][ids].astype(np.float64)
    n = len(ids)
    for i in range(3):
        part = {name.split(".", 2)[2]: v for name, v in w.items() if name.startswith(f"blk.{i}.")}
        h = _rms(x, part["attn_norm.weight"])
        q, k, v = (
            (h @ part[f"attn_{name}.weight"].T).reshape(n, -1, 16) for name in ("q", "k", "v")
        )
        q = _rotated(_rms(q, part["attn_q_norm.weight"]))
        k = _rotated(_rms(k, part["attn_k_norm.weight"]))
        k, v = (np.repeat(each, 2, axis=1) for each in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / 4
        scores = np.exp(np.where(np.tri(n) > 0, scores, -np.inf))
        scores /= scores.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", scores, v).reshape(n, -1)
        humps = [
            np.maximum(h @ part[f"hump_{j}.up.weight"].T, 0) ** 2 @ part[f"hump_{j}.down.weight"].T
            for j in (1, 2)
        ]
        x = x + attended @ part["attn_output.weight"].T + humps[0] + 0.25 * humps[1]
    logits: NDArray[np.float64] = _rms(x, w["output_norm.weight"]) @ w["token_embd.weight"].T
    return logits


def test_an_installed_architecture_computes_what_it_says(
    camel: tuple[Path, dict[str, NDArray[np.float32]]],
) -> None:
    path, weights = camel
    engine = open_engine(path, LOAD, lambda _: None)
    assert (engine.info.engine, engine.info.architecture) == ("native", "camel")
    ids = [3 + (i * 37) % 300 for i in range(40)]
    rows = [engine.forward(Plan((Span(SeqId(0), 0, ids[:30], 30),))).copy()]
    rows += [engine.forward(Plan((Span(SeqId(0), i, [ids[i]], 1),))).copy() for i in range(30, 40)]
    assert np.abs(np.concatenate(rows) - _reference(weights, ids)).max() < 1e-4
    # libllama, which reads the vocabulary, has never heard of camels
    assert (
        engine.tokenizer.decode(
            engine.tokenizer.encode("a b", add_special=True, parse_special=False)
        ).strip()
        == "a b"
    )
    engine.close()


def test_an_architecture_refuses_what_it_does_not_implement(
    camel: tuple[Path, dict[str, NDArray[np.float32]]], tmp_path: Path
) -> None:
    dromedary = rewrite(camel[0], tmp_path / "dromedary.gguf", {"camel.hump_count": 1})
    with pytest.raises(UnsupportedModel, match="another number of humps than two"):
        open_native(dromedary, LOAD, "test", lambda _: None)


def test_runner_processes_find_installed_architectures(
    camel: tuple[Path, dict[str, NDArray[np.float32]]],
    installed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    command = ["verify", str(camel[0]), "--reference", "native", "--json"]
    assert execute(command) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["architecture"], facts["verdict"]) == ("camel", "equal")


def test_two_definitions_of_a_name_are_an_error(
    install: Install, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    install("one", "camel = one:Camel", "")
    install("two", "camel = two:Camel", "")
    path = rewrite(tiny_model(), tmp_path / "camel.gguf", {"general.architecture": "camel"})
    with pytest.raises(PluginConflict, match=r"by the packages (one and two|two and one)"):
        open_engine(path, LOAD, lambda _: None)
    open_engine(tiny_model("qwen3"), LOAD, lambda _: None).close()
    install("three", "qwen3 = three:Qwen3", "")
    with pytest.raises(PluginConflict, match="by the packages cama and three"):
        open_engine(tiny_model("qwen3"), LOAD, lambda _: None)


BROKEN = {
    "error": ("raise OSError('no drivers')", "OSError: no drivers"),
    "missing": ("", "AttributeError: module 'broken' has no attribute 'Camel'"),
    "kind": ("Camel = 3", "3 is neither a Decoder nor an Encoder"),
    "config": (
        "from cama.engine.native import nn\nclass Camel(nn.Decoder):\n    config: int\n",
        "which is no BaseConfig",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_is_reported_and_stops_no_other_model(
    install: Install,
    tiny_model: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    source, reason = BROKEN[case]
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    install("broken", "camel = broken:Camel", source)
    path = rewrite(tiny_model(), tmp_path / "camel.gguf", {"general.architecture": "camel"})
    with caplog.at_level(logging.ERROR), pytest.raises(CamaError) as caught:
        open_engine(path, LOAD, lambda _: None)
    assert isinstance(caught.value, LoadFailed)
    for text in (caught.value.message, caplog.text):
        assert "the definition of 'camel' in the package broken is broken" in text
        assert reason in text
    engine = open_engine(tiny_model(), LOAD, lambda _: None)
    assert engine.info.engine == "native"
    engine.close()
