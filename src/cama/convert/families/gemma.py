"""Gemma 1: norms that count from one, embeddings that are the output too."""

from cama.convert.config import Config
from cama.convert.family import (
    ATTENTION,
    ENDS,
    FFN_NORM,
    GATED,
    Family,
    Metadata,
    decoder,
    require_activation,
)
from cama.convert.rope import read_rope, rope_metadata

_GELU = ("gelu_pytorch_tanh", "gelu")
"""The first releases said "gelu" and meant its approximation."""


def metadata(config: Config) -> Metadata:
    require_activation(config, *_GELU)
    return decoder(config) | rope_metadata(config, read_rope(config))


FAMILY = Family(
    architecture="gemma",
    metadata=metadata,
    names={**ENDS, **ATTENTION, **FFN_NORM, **GATED},
    plus_one=True,
    has_output=False,
    defaults={"head_dim": 256, "max_position_embeddings": 8192},
)
