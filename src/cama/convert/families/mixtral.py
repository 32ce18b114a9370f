"""Mixtral: a Llama with experts."""

from dataclasses import replace

from cama.convert.config import Config
from cama.convert.families import llama
from cama.convert.family import ATTENTION, ENDS, FFN_NORM, Metadata

_EXPERTS = "layers.{}.block_sparse_moe.experts.{}"


def metadata(config: Config) -> Metadata:
    return llama.metadata(config) | {
        "expert_count": config.integer("num_local_experts"),
        "expert_used_count": config.integer("num_experts_per_tok"),
    }


FAMILY = replace(
    llama.FAMILY,
    metadata=metadata,
    names={
        **ENDS,
        **ATTENTION,
        **FFN_NORM,
        "layers.{}.block_sparse_moe.gate.weight": "blk.{}.ffn_gate_inp.weight",
        f"{_EXPERTS}.w1.weight": "blk.{}.ffn_gate_exps.weight",
        f"{_EXPERTS}.w2.weight": "blk.{}.ffn_down_exps.weight",
        f"{_EXPERTS}.w3.weight": "blk.{}.ffn_up_exps.weight",
    },
)
