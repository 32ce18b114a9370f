"""Qwen 2 and 2.5: biases on queries, keys and values."""

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
from cama.convert.rope import read_rope, rope_metadata


def metadata(config: Config) -> Metadata:
    require_activation(config, "silu")
    config.require(not config.flag("use_sliding_window", False), "use_sliding_window")
    return decoder(config) | rope_metadata(config, read_rope(config), "linear", "yarn")


FAMILY = Family(
    architecture="qwen2",
    metadata=metadata,
    names={**ENDS, **ATTENTION, **BIASES, **FFN_NORM, **GATED},
)
