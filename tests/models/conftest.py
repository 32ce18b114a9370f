"""Reference models as files that both engines can open."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cama.gguf.encode import Writable
from tests.models import toys
from tests.rewriting import rewrite


@pytest.fixture(scope="session")
def toy_file(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a reference model; one without a vocabulary gets one."""
    folder = tmp_path_factory.mktemp("toys")

    def find(name: str) -> Path:
        original = shared_data / "toy" / f"{name}.gguf"
        n_vocab = toys.NATIVE[name].n_vocab_missing
        if not n_vocab:
            return original
        words = ["<unk>", "<s>", "</s>", *(f"word{i}" for i in range(3, n_vocab))]
        vocabulary: dict[str, Writable] = {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": words,
            "tokenizer.ggml.scores": [0.0] * n_vocab,
            "tokenizer.ggml.token_type": [2, 3, 3, *([1] * (n_vocab - 3))],
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
        }
        return rewrite(original, folder / f"{name}.gguf", vocabulary)

    return find
