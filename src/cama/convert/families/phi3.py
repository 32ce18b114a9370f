"""Phi 3 and 4: fused projections, and rotations for long contexts."""

import math

from cama.convert.config import Config
from cama.convert.family import ENDS, FFN_NORM, Family, Metadata, decoder, require_activation
from cama.convert.rope import long_factors, read_rope, rope_metadata
from cama.gguf import F32


def metadata(config: Config) -> Metadata:
    require_activation(config, "silu")
    rope = read_rope(config)
    keys = decoder(config) | rope_metadata(config, rope, "longrope")
    context = config.integer("max_position_embeddings")
    original = config.integer("original_max_position_embeddings", context)
    keys |= {
        "rope.scaling.original_context_length": original,
        "attention.sliding_window": config.integer("sliding_window", 0),
    }
    if rope.kind == "longrope":
        config.require(original > 1, f"original_max_position_embeddings {original}")
        scale = context / original
        usual = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
        factor = rope.scaling.number("attention_factor", usual)
        keys["rope.scaling.attn_factor"] = F32(factor)
    return keys


FAMILY = Family(
    architecture="phi3",
    metadata=metadata,
    names={
        **ENDS,
        **FFN_NORM,
        "layers.{}.input_layernorm.weight": "blk.{}.attn_norm.weight",
        "layers.{}.self_attn.qkv_proj.weight": "blk.{}.attn_qkv.weight",
        "layers.{}.self_attn.o_proj.weight": "blk.{}.attn_output.weight",
        "layers.{}.mlp.gate_up_proj.weight": "blk.{}.ffn_up.weight",
        "layers.{}.mlp.down_proj.weight": "blk.{}.ffn_down.weight",
    },
    tables=long_factors,
)
