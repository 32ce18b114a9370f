"""BERT: an encoder of texts to vectors."""

from typing import Final

from cama.convert.config import Config
from cama.convert.family import Family, Metadata, require_activation
from cama.gguf import F32

_LAYER: Final = "encoder.layer.{}"


def metadata(config: Config) -> Metadata:
    require_activation(config, "gelu", "gelu_new", "gelu_pytorch_tanh")
    kind = config.text("position_embedding_type", "absolute")
    config.require(kind == "absolute", f"position_embedding_type {kind!r}")
    return {
        "block_count": config.integer("num_hidden_layers"),
        "context_length": config.integer("max_position_embeddings"),
        "embedding_length": config.integer("hidden_size"),
        "feed_forward_length": config.integer("intermediate_size"),
        "attention.head_count": config.integer("num_attention_heads"),
        "attention.layer_norm_epsilon": F32(config.number("layer_norm_eps", 1e-12)),
        "attention.causal": False,
    }


def _with_bias(names: dict[str, str]) -> dict[str, str]:
    return {
        f"{ours}.{part}": f"{theirs}.{part}"
        for ours, theirs in names.items()
        for part in ("weight", "bias")
    }


FAMILY = Family(
    architecture="bert",
    metadata=metadata,
    names={
        "embeddings.word_embeddings.weight": "token_embd.weight",
        "embeddings.position_embeddings.weight": "position_embd.weight",
        "embeddings.token_type_embeddings.weight": "token_types.weight",
        **_with_bias(
            {
                "embeddings.LayerNorm": "token_embd_norm",
                f"{_LAYER}.attention.self.query": "blk.{}.attn_q",
                f"{_LAYER}.attention.self.key": "blk.{}.attn_k",
                f"{_LAYER}.attention.self.value": "blk.{}.attn_v",
                f"{_LAYER}.attention.output.dense": "blk.{}.attn_output",
                f"{_LAYER}.attention.output.LayerNorm": "blk.{}.attn_output_norm",
                f"{_LAYER}.intermediate.dense": "blk.{}.ffn_up",
                f"{_LAYER}.output.dense": "blk.{}.ffn_down",
                f"{_LAYER}.output.LayerNorm": "blk.{}.layer_output_norm",
            }
        ),
    },
    prefixes=(r"bert\.",),
    exact=("position_embd", "token_types"),
    ignored=(r".*embeddings\.position_ids", r".*pooler\..*", r"cls\..*"),
    has_output=False,
)
