"""Comparing engines in processes of their own, and the command that shows it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cama.cli.main import execute
from cama.core.comparison import LogitComparison, VectorComparison
from cama.core.errors import EngineError, InvalidRequest, LoadFailed
from cama.engine.verification.compare import compare
from cama.runner.verify import verify
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

TEXT = "a1 b22 c333 d4 e55 f666 " * 20


def _save(folder: Path, name: str, rows: list[list[float]]) -> Path:
    path = folder / f"{name}.npy"
    np.save(path, np.array(rows, np.float32))
    return path


def test_figures_are_those_of_the_textbook(tmp_path: Path) -> None:
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.5, 0.25])
    ours = _save(tmp_path, "ours", [np.log(p).tolist(), np.log(p).tolist()])
    reference = _save(tmp_path, "reference", [np.log(q).tolist(), np.log(p).tolist()])
    found = compare(ours, reference, [2, 0], 1)
    assert isinstance(found, LogitComparison)
    divergence = float((q * np.log(q / p)).sum())
    assert found.max_divergence == pytest.approx(divergence, rel=1e-6)
    assert found.mean_divergence == pytest.approx(divergence / 2, rel=1e-6)
    assert found.max_difference == pytest.approx(np.log(2), rel=1e-6)
    assert found.mean_difference == pytest.approx(np.log(2) / 3, rel=1e-6)
    assert found.agreement == 0.5
    # one token follows another: the first row says how likely it was
    assert found.perplexity == pytest.approx(2.0)
    assert found.reference_perplexity == pytest.approx(4.0)
    assert found.verdict(1.0) == "agree"
    assert found.verdict(1e-3) == "differ"
    assert compare(ours, ours, [2, 0], 1).verdict(0.0) == "equal"


def test_vectors_are_compared_by_their_angle(tmp_path: Path) -> None:
    ours = _save(tmp_path, "ours", [[1, 0], [0, 2]])
    reference = _save(tmp_path, "reference", [[2, 0], [1, 1]])
    found = compare(ours, reference, [], 0)
    assert isinstance(found, VectorComparison)
    assert found.min_cosine == pytest.approx(np.sqrt(0.5))
    assert (found.max_difference, found.n_texts) == (1.0, 2)
    assert found.verdict(1e-4) == "differ"
    with pytest.raises(EngineError, match="rows of"):
        compare(ours, _save(tmp_path, "other", [[1, 2, 3]]), [], 0)


@pytest.mark.parametrize("kind", ["F16", "Q4_K_M"])
def test_both_engines_are_equal_on_a_model(tiny_model: Callable[..., Path], kind: str) -> None:
    found = verify(tiny_model("qwen3", kind), TEXT, limit=100).comparison
    assert isinstance(found, LogitComparison)
    assert (found.n_tokens, found.n_decoded) == (100, 32)
    assert (found.verdict(0.0), found.agreement) == ("equal", 1.0)
    assert found.perplexity == found.reference_perplexity > 1


def test_vectors_of_embedding_models_are_compared(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    """Also where the same architecture generates in other files."""
    path = rewrite(tiny_model("qwen3"), tmp_path / "e.gguf", {"qwen3.pooling_type": 3})
    found = verify(path, "first text\n\nanother\n").comparison
    assert isinstance(found, VectorComparison)
    assert found.n_texts == 2
    assert found.verdict(1e-6) != "differ"


def test_the_command_tells_how_far_engines_are_apart(
    tiny_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    # with a float32 cache the engines sum in another order
    command = ["verify", str(tiny_model()), "--text", str(text), "--cache-type", "f32"]
    command += ["--tokens", "64"]
    assert execute(command) == 0
    assert "The engines agree within the tolerance" in capsys.readouterr().out
    assert execute([*command, "--tolerance", "0", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["verdict"] == "differ"
    assert 0 < facts["mean_divergence"] < 1e-6 < facts["max_difference"] < 1e-2
    assert (facts["n_tokens"], facts["architecture"]) == (64, "llama")


def test_an_engine_that_refuses_the_model_says_why(
    tiny_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewrite(tiny_model(), tmp_path / "spiral.gguf", {"llama.rope.scaling.type": "spiral"})
    assert execute(["verify", str(path)]) == 1
    assert "rope scaling 'spiral' is not implemented" in capsys.readouterr().err
    camel = rewrite(tiny_model(), tmp_path / "camel.gguf", {"general.architecture": "camel"})
    with pytest.raises(LoadFailed, match="unknown model architecture"):
        verify(camel, TEXT, engine="llama")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--tokens", "1"], "--tokens must be from 2"),
        (["--tokens", "many"], 'invalid argument "many" for --tokens: must be a number'),
        (["--engine", "fake"], "--engine must be one of native, llama"),
        (["--text", "/nowhere"], "cannot read /nowhere"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_loaded(
    tiny_model: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    complaint: str,
) -> None:
    assert execute(["verify", str(tiny_model()), *flags]) == 1
    assert complaint in capsys.readouterr().err


def test_a_text_without_words_is_refused(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(InvalidRequest, match="at least two tokens"):
        verify(tiny_model(), "", limit=10)
