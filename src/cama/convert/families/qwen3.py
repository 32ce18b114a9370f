"""Qwen 3: norms of each head's queries and keys instead of biases."""

from dataclasses import replace

from cama.convert.families import qwen2
from cama.convert.family import ATTENTION, ENDS, FFN_NORM, GATED, HEAD_NORMS

FAMILY = replace(
    qwen2.FAMILY,
    architecture="qwen3",
    names={**ENDS, **ATTENTION, **HEAD_NORMS, **FFN_NORM, **GATED},
    defaults={"head_dim": 128},
)
