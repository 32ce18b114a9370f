"""Fixtures for every test: an isolated home and environment, and the shared data when present."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cama.gguf.encode import Writable

_KEYS: dict[str, dict[str, Writable]] = {
    "gemma3": {"attention.sliding_window": 64, "attention.sliding_window_pattern": 2},
    "qwen2vl": {"rope.dimension_sections": [8, 12, 12, 0]},
}
"""Every other layer has a window; time, height and width turn parts of a head."""

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _isolated_environment(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test sees the user's home, store or settings."""
    for name in [n for n in os.environ if n.startswith(("CAMA_", "OLLAMA_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference models and goldens that lies beside a full checkout."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared reference data is not on this machine")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes small random-weight models: ``tiny_model("qwen3", "Q4_K_M")``. Each is made once."""
    folder = tmp_path_factory.mktemp("models")

    def make(architecture: str = "llama", file_type: str = "F16") -> Path:
        from benchmarks.make_model import TINY, make_model

        path = folder / f"{architecture}-{file_type}.gguf"
        if not path.exists():
            shape = replace(TINY, architecture=architecture, keys=_KEYS.get(architecture, {}))
            make_model(path, shape, file_type)
        return path

    return make
