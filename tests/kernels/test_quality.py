"""What kernels of ours change in what whole models say, held against what libllama says."""

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import cama
from cama.core.comparison import LogitComparison
from cama.engine.verification.compare import compare
from cama.ggml.library import own_kernels

pytestmark = pytest.mark.native

STORIES = ["Q4_0", "Q5_1", "Q8_0"]
STORIES_K = ["p256-Q2_K", "p256-Q3_K_M", "p256-Q4_K_M", "p256-Q6_K"]
GUIDE = Path(cama.__file__).parent / "bundled" / "guide.gguf"

# Evaluates a text by one engine, file after file: the choice of kernels is one of the process
CHILD = """
import sys
from pathlib import Path
from cama.core.load import LoadOptions
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.engine import NativeEngine
from cama.engine.verification.evaluate import evaluate

engine, text, folder, *files = sys.argv[1:]
opened = {"native": NativeEngine, "llama": LlamaEngine}[engine]
for file in map(Path, files):
    it = opened.open(file, LoadOptions(n_threads=2, n_ctx=1024), "test", lambda _: None)
    evaluation = evaluate(it, Path(text).read_text(), 700, Path(folder, file.stem + ".npy"))
    Path(folder, file.stem + ".json").write_text(str(evaluation.ids))
    it.close()
"""


@dataclass
class Texts:
    """Where the rows of both sides are, and of the reference."""

    folder: Path

    def compare(self, side: str, name: str, reference: tuple[str, str]) -> LogitComparison:
        ids = json.loads((self.folder / side / f"{name}.json").read_text())
        other = self.folder / reference[0] / f"{reference[1]}.npy"
        result = compare(self.folder / side / f"{name}.npy", other, ids, 0)
        assert isinstance(result, LogitComparison)
        return result


def evaluate(engine: str, kernels: str, text: Path, folder: Path, files: list[Path]) -> None:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", CHILD, engine, str(text), str(folder), *map(str, files)]
    ran = subprocess.run(
        command,
        env={**os.environ, "CAMA_KERNELS": kernels},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> None:
    if not own_kernels().name:
        pytest.skip(f"no kernels on this machine: {own_kernels().reason}")


@pytest.fixture(scope="module")
def stories(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Texts:
    """A text by the files of one trained model: with kernels, by libllama alone, and exactly."""
    folder = tmp_path_factory.mktemp("stories")
    source = shared_data / "stories260K"
    files = [source / f"stories260K-{name}.gguf" for name in (*STORIES, *STORIES_K)]
    text = source / "eval-text.txt"
    evaluate("native", "auto", text, folder / "kernels", files)
    exact = source / "stories260K-F32.gguf"
    evaluate("llama", "off", text, folder / "libllama", [*files, exact])
    return Texts(folder)


@pytest.mark.parametrize("name", [*STORIES, *STORIES_K])
def test_quantized_model_is_as_near_to_the_exact_one_as_with_libllama(
    stories: Texts, name: str
) -> None:
    exact = ("libllama", "stories260K-F32")
    ours, theirs = (
        stories.compare(side, f"stories260K-{name}", exact) for side in ("kernels", "libllama")
    )
    apart = stories.compare("kernels", f"stories260K-{name}", ("libllama", f"stories260K-{name}"))
    assert ours.mean_divergence <= 1.02 * theirs.mean_divergence + apart.mean_divergence
    assert apart.mean_divergence <= 0.1 * theirs.mean_divergence + 1e-3
    # What sets them apart is how activations are rounded, noise without direction: surprises
    # that differ by it have a variance of twice the divergence
    noise = math.sqrt(2 * apart.mean_divergence / apart.n_tokens)
    assert math.log(ours.perplexity / theirs.perplexity) <= 4 * noise


def test_bundled_model_reads_a_text_as_well_as_with_libllama(tmp_path: Path) -> None:
    readme = Path(cama.__file__).parents[2] / "README.md"
    if not readme.is_file():
        pytest.skip("the text is not beside an installed package")
    evaluate("native", "auto", readme, tmp_path / "kernels", [GUIDE])
    evaluate("llama", "off", readme, tmp_path / "libllama", [GUIDE])
    both = Texts(tmp_path).compare("kernels", "guide", ("libllama", "guide"))
    assert both.mean_divergence <= 1e-3
    assert both.perplexity <= 1.005 * both.reference_perplexity
