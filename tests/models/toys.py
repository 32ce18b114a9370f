"""The reference models: random weights of every architecture, and what must be equal for each."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cama.core.load import CacheType, LoadOptions

EXACT = 1e-4
GELU = 2e-2
"""The CPU looks a GELU up in a table of float16, so that the last bits of its input show."""


@dataclass(frozen=True, kw_only=True)
class Toy:
    """``tolerance`` is how far logits with a float32 cache may be from the goldens.

    ``n_ctx`` is the context of a request where it chooses the frequencies,
    ``n_vocab_missing`` the tokens of a file that says nothing of them. Sequences of a model that
    ``keeps_states`` can be shared and continued as a whole only.
    """

    tolerance: float = EXACT
    n_ctx: int = 256
    n_vocab_missing: int = 0
    keeps_states: bool = False

    def load(self, cache_type: CacheType = "f16") -> LoadOptions:
        return LoadOptions(
            n_ctx=self.n_ctx, n_batch=128, n_cells=512, n_threads=1, cache_type=cache_type
        )


NATIVE = {
    "cohere2": Toy(),
    "command-r": Toy(),
    "deepseek2-legacy": Toy(),
    "deepseek2-lite": Toy(),
    "deepseek2-mla": Toy(),
    "gemma": Toy(tolerance=GELU),
    "gemma2": Toy(tolerance=GELU),
    "gemma3": Toy(tolerance=GELU),
    "gemma3n": Toy(tolerance=GELU, n_vocab_missing=64),
    "gemma4-dense": Toy(tolerance=GELU),
    "gemma4-e": Toy(tolerance=GELU),
    "gemma4-moe": Toy(tolerance=GELU),
    "glm4": Toy(),
    "glm4moe": Toy(),
    "gpt-oss": Toy(),
    "granite": Toy(),
    "granitehybrid": Toy(keeps_states=True),
    "granitemoe": Toy(),
    "lfm2": Toy(keeps_states=True),
    "lfm2moe": Toy(keeps_states=True),
    "llama": Toy(),
    "llama-linear-bias": Toy(),
    "llama-moe": Toy(),
    "llama-rope-factors": Toy(),
    "llama-yarn": Toy(),
    "llama4": Toy(),
    "mistral3": Toy(),
    "nemotron_h": Toy(keeps_states=True),
    "nemotron_h_moe": Toy(keeps_states=True),
    "olmo2": Toy(),
    "olmo3": Toy(),
    "phi3": Toy(),
    "phi3-longrope-long": Toy(),
    "phi3-longrope-short": Toy(n_ctx=32),
    "qwen2": Toy(),
    "qwen2moe": Toy(),
    "qwen2vl": Toy(),
    "qwen3": Toy(),
    "qwen35": Toy(keeps_states=True),
    "qwen35moe": Toy(keeps_states=True),
    "qwen3moe": Toy(),
    "qwen3next": Toy(keeps_states=True),
    "qwen3vl": Toy(),
    "qwen3vlmoe": Toy(),
}
"""Those that the native engine generates with."""

ENCODERS = {"bert", "gemma-embedding", "nomic-bert", "nomic-bert-moe"}
"""Those that it embeds with."""


def golden(shared_data: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared_data / "toy" / f"{name}.golden.json").read_text())
    return found
