"""Gemma 3: norms of heads, and two kinds of layers, each with a rotation of its own."""

from dataclasses import replace
from typing import Final

from cama.convert.config import Config
from cama.convert.families import gemma
from cama.convert.families.gemma2 import NORMS, require_scale
from cama.convert.family import (
    ATTENTION,
    ENDS,
    GATED,
    HEAD_NORMS,
    Metadata,
    decoder,
    require_activation,
)
from cama.convert.rope import read_rope, rope_metadata
from cama.gguf import F32

_LAYERS_27B: Final = 62
_PATTERN: Final = 6


def metadata(config: Config) -> Metadata:
    require_activation(config, "gelu_pytorch_tanh")
    require_scale(config, _LAYERS_27B)
    config.require(not config.has("attn_logit_softcapping"), "attn_logit_softcapping")
    config.require(not config.flag("use_bidirectional_attention", False), "attention both ways")
    pattern = _pattern(config)
    full = read_rope(config, "full_attention")
    near = read_rope(config, "sliding_attention")
    local = near.base if config.has("rope_parameters") else 10000.0
    keys = decoder(config) | rope_metadata(config, full, "linear")
    keys |= {
        "attention.sliding_window": config.integer("sliding_window"),
        "rope.freq_base_swa": F32(config.number("rope_local_base_freq", local)),
    }
    if pattern != _PATTERN:
        keys["attention.sliding_window_pattern"] = pattern
    if config.has("final_logit_softcapping"):
        keys["final_logit_softcapping"] = F32(config.number("final_logit_softcapping"))
    return keys


def _pattern(config: Config) -> int:
    """Every how many layers one sees all."""
    n_layer = config.integer("num_hidden_layers")
    kinds = config.texts("layer_types")
    pattern = config.integer("sliding_window_pattern", 0)
    if not pattern and "full_attention" in kinds:
        pattern = kinds.index("full_attention") + 1
    pattern = pattern or (max(_PATTERN, n_layer + 1) if kinds else _PATTERN)
    usual = [
        "sliding_attention" if (layer + 1) % pattern else "full_attention"
        for layer in range(n_layer)
    ]
    config.require(not kinds or kinds == usual, "an irregular order of layer_types")
    return pattern


FAMILY = replace(
    gemma.FAMILY,
    architecture="gemma3",
    metadata=metadata,
    names={**ENDS, **ATTENTION, **HEAD_NORMS, **NORMS, **GATED},
    ignored=(
        *gemma.FAMILY.ignored,
        r"(?:model\.)?vision_tower\..*",
        r"(?:model\.)?multi_modal_projector\..*",
    ),
    has_output=True,
    defaults={
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "rope_theta": 1000000.0,
        "sliding_window": 4096,
        "tie_word_embeddings": True,
    },
)
