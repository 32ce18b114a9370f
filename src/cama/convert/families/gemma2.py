"""Gemma 2: norms before and behind, soft caps, every other layer with a sliding window."""

from dataclasses import replace
from typing import Final

from cama.convert.config import Config
from cama.convert.families import gemma
from cama.convert.family import ATTENTION, ENDS, GATED, Metadata, head_dim
from cama.gguf import F32

_LAYERS_27B: Final = 46

NORMS: Final = {
    "layers.{}.post_attention_layernorm.weight": "blk.{}.post_attention_norm.weight",
    "layers.{}.pre_feedforward_layernorm.weight": "blk.{}.ffn_norm.weight",
    "layers.{}.post_feedforward_layernorm.weight": "blk.{}.post_ffw_norm.weight",
}


def require_scale(config: Config, n_layer_27b: int) -> None:
    """Engines know the scale of attention by the number of layers alone."""
    is_27b = config.integer("num_hidden_layers") == n_layer_27b
    n_head = max(1, config.integer("num_attention_heads"))
    usual = config.integer("hidden_size") // n_head if is_27b else head_dim(config)
    given = config.number("query_pre_attn_scalar", 256)
    config.require(given == usual, f"query_pre_attn_scalar {given:g}, not {usual},")


def metadata(config: Config) -> Metadata:
    require_scale(config, _LAYERS_27B)
    return gemma.metadata(config) | {
        "attention.sliding_window": config.integer("sliding_window", 4096),
        "attn_logit_softcapping": F32(config.number("attn_logit_softcapping", 50.0)),
        "final_logit_softcapping": F32(config.number("final_logit_softcapping", 30.0)),
    }


FAMILY = replace(
    gemma.FAMILY,
    architecture="gemma2",
    metadata=metadata,
    names={**ENDS, **ATTENTION, **NORMS, **GATED},
)
