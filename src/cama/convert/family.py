"""What is to be known of a family of models to write one as GGUF."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cama.convert.config import Config
from cama.gguf import F32, Writable

Metadata = dict[str, Writable]
Tables = Mapping[str, NDArray[np.float32]]

PREFIXES: Final = (r"(?:model\.)?language_model\.model\.", r"model\.language_model\.", r"model\.")


def no_tables(config: Config) -> Tables:
    """Most families compute all that they need."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """``names`` are Hugging Face's names of tensors, with braces for a number, and GGUF's; with a
    second number, that of an expert, the matrices of all experts become one tensor.

    ``metadata`` gives the keys below the architecture's name, ``tables`` tensors that are computed
    from the config. The rows of ``paired`` are rotated in pairs of neighbours, where the checkpoint
    has halves; the key of the config says how many heads they have. ``plus_one`` are norms whose
    weights count from one. ``exact`` stay F32. ``ignored`` are patterns of tensors that say
    nothing.
    """

    architecture: str
    metadata: Callable[[Config], Metadata]
    names: Mapping[str, str]
    prefixes: Sequence[str] = PREFIXES
    tables: Callable[[Config], Tables] = no_tables
    paired: Mapping[str, str] = field(default_factory=dict)
    plus_one: bool = False
    exact: Sequence[str] = ("ffn_gate_inp",)
    ignored: Sequence[str] = (r".*rotary_emb\.inv_freq",)
    has_output: bool = True
    defaults: Mapping[str, int | float | str | bool] = field(default_factory=dict)

    def config(self, root: Config) -> Config:
        """The part of ``config.json`` that describes the text model, with the family's defaults."""
        text = root.part("text_config") if root.has("text_config") else root
        given = {key: value for key, value in text.values.items() if value is not None}
        return Config(dict(self.defaults) | given, text.where)


ATTENTION: Final = {
    "layers.{}.input_layernorm.weight": "blk.{}.attn_norm.weight",
    "layers.{}.self_attn.q_proj.weight": "blk.{}.attn_q.weight",
    "layers.{}.self_attn.k_proj.weight": "blk.{}.attn_k.weight",
    "layers.{}.self_attn.v_proj.weight": "blk.{}.attn_v.weight",
    "layers.{}.self_attn.o_proj.weight": "blk.{}.attn_output.weight",
}
BIASES: Final = {
    "layers.{}.self_attn.q_proj.bias": "blk.{}.attn_q.bias",
    "layers.{}.self_attn.k_proj.bias": "blk.{}.attn_k.bias",
    "layers.{}.self_attn.v_proj.bias": "blk.{}.attn_v.bias",
}
HEAD_NORMS: Final = {
    "layers.{}.self_attn.q_norm.weight": "blk.{}.attn_q_norm.weight",
    "layers.{}.self_attn.k_norm.weight": "blk.{}.attn_k_norm.weight",
}
GATED: Final = {
    "layers.{}.mlp.gate_proj.weight": "blk.{}.ffn_gate.weight",
    "layers.{}.mlp.up_proj.weight": "blk.{}.ffn_up.weight",
    "layers.{}.mlp.down_proj.weight": "blk.{}.ffn_down.weight",
}
ENDS: Final = {
    "embed_tokens.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
FFN_NORM: Final = {"layers.{}.post_attention_layernorm.weight": "blk.{}.ffn_norm.weight"}


def head_dim(config: Config) -> int:
    width = config.integer("hidden_size") // max(1, config.integer("num_attention_heads"))
    return config.integer("head_dim", width)


def decoder(config: Config) -> Metadata:
    """The keys that all decoders have."""
    n_head = config.integer("num_attention_heads")
    width = head_dim(config)
    return {
        "block_count": config.integer("num_hidden_layers"),
        "context_length": config.integer("max_position_embeddings"),
        "embedding_length": config.integer("hidden_size"),
        "feed_forward_length": config.integer("intermediate_size"),
        "attention.head_count": n_head,
        "attention.head_count_kv": config.integer("num_key_value_heads", n_head),
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": F32(config.number("rms_norm_eps", 1e-6)),
    }


def require_activation(config: Config, *names: str) -> None:
    key = "hidden_activation" if config.has("hidden_activation") else "hidden_act"
    given = config.text(key, names[0])
    config.require(given in names, f"the activation {given!r}")
