"""Llama 1 to 3, and what is built like them."""

from cama.convert.config import Config
from cama.convert.family import (
    ATTENTION,
    BIASES,
    ENDS,
    FFN_NORM,
    GATED,
    Family,
    Metadata,
    decoder,
    require_activation,
)
from cama.convert.rope import llama3_factors, read_rope, rope_metadata


def metadata(config: Config) -> Metadata:
    require_activation(config, "silu")
    return decoder(config) | rope_metadata(config, read_rope(config), "linear", "yarn", "llama3")


FAMILY = Family(
    architecture="llama",
    metadata=metadata,
    names={
        **ENDS,
        **ATTENTION,
        **BIASES,
        **FFN_NORM,
        **GATED,
        "layers.{}.self_attn.o_proj.bias": "blk.{}.attn_output.bias",
        "layers.{}.mlp.gate_proj.bias": "blk.{}.ffn_gate.bias",
        "layers.{}.mlp.up_proj.bias": "blk.{}.ffn_up.bias",
        "layers.{}.mlp.down_proj.bias": "blk.{}.ffn_down.bias",
    },
    tables=llama3_factors,
    paired={"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"},
)
