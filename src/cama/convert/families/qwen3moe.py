"""Qwen 3 with experts in every layer."""

from dataclasses import replace

from cama.convert.config import Config
from cama.convert.families import qwen2, qwen3
from cama.convert.family import ATTENTION, ENDS, FFN_NORM, HEAD_NORMS, Metadata

_EXPERTS = "layers.{}.mlp.experts.{}"


def metadata(config: Config) -> Metadata:
    config.require(config.flag("norm_topk_prob", False), "routing without norm_topk_prob")
    config.require(not config.values.get("mlp_only_layers"), "layers without experts")
    config.require(config.integer("decoder_sparse_step", 1) == 1, "layers without experts")
    return qwen2.metadata(config) | {
        "expert_count": config.integer("num_experts"),
        "expert_used_count": config.integer("num_experts_per_tok"),
        "expert_feed_forward_length": config.integer("moe_intermediate_size"),
    }


FAMILY = replace(
    qwen3.FAMILY,
    architecture="qwen3moe",
    metadata=metadata,
    names={
        **ENDS,
        **ATTENTION,
        **HEAD_NORMS,
        **FFN_NORM,
        "layers.{}.mlp.gate.weight": "blk.{}.ffn_gate_inp.weight",
        f"{_EXPERTS}.gate_proj.weight": "blk.{}.ffn_gate_exps.weight",
        f"{_EXPERTS}.up_proj.weight": "blk.{}.ffn_up_exps.weight",
        f"{_EXPERTS}.down_proj.weight": "blk.{}.ffn_down_exps.weight",
    },
)
