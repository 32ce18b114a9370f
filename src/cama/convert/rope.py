"""How positions are rotated: from a checkpoint's config to GGUF's keys and tables."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cama.convert.config import Config
from cama.convert.family import Metadata, Tables, head_dim
from cama.gguf import F32


@dataclass(frozen=True, slots=True)
class Rope:
    """``kind`` is how positions are scaled, ``scaling`` with what numbers."""

    base: float
    kind: str
    scaling: Config


def read_rope(config: Config, layers: str = "") -> Rope:
    """The rotation of all layers, or of those of a kind (``full_attention``).

    Older configs have ``rope_theta`` and ``rope_scaling``, newer ones ``rope_parameters``.
    """
    scaling = config.part("rope_parameters" if config.has("rope_parameters") else "rope_scaling")
    if layers and scaling.has(layers):
        scaling = scaling.part(layers)
    base = scaling.number("rope_theta", config.number("rope_theta", 10000.0))
    config.require(base > 1, f"rope_theta {base:g}")
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    return Rope(base, {"su": "longrope", "dynamic": "default"}.get(kind, kind), scaling)


def rope_metadata(config: Config, rope: Rope, *kinds: str) -> Metadata:
    """The keys of a rotation whose scaling is one of ``kinds``, or none.

    Raises UnsupportedModel on another one.
    """
    width = int(head_dim(config) * config.number("partial_rotary_factor", 1.0))
    keys: Metadata = {"rope.freq_base": F32(rope.base), "rope.dimension_count": width}
    if rope.kind == "default":
        return keys
    config.require(rope.kind in kinds, f"rope scaling {rope.kind!r}")
    match rope.kind:
        case "linear":
            factor = _factor(rope.scaling)
            return keys | {"rope.scaling.type": "linear", "rope.scaling.factor": F32(factor)}
        case "yarn":
            return keys | _yarn(config, rope.scaling)
    return keys


def _factor(scaling: Config) -> float:
    factor = scaling.number("factor")
    scaling.require(factor >= 1, f"the factor {factor:g}")
    return factor


def _yarn(config: Config, scaling: Config) -> Metadata:
    for key, usual in (("beta_fast", 32.0), ("beta_slow", 1.0)):
        config.require(scaling.number(key, usual) == usual, f"yarn with another {key} than {usual}")
    config.require(not scaling.has("mscale"), "yarn with mscale")
    factor = _factor(scaling)
    context = config.integer("max_position_embeddings")
    usual = 1 + 0.1 * math.log(max(factor, 1.0))
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": F32(factor),
        "rope.scaling.original_context_length": scaling.integer(
            "original_max_position_embeddings", context
        ),
        "rope.scaling.attn_factor": F32(scaling.number("attention_factor", usual) / usual),
    }


def llama3_factors(config: Config) -> Tables:
    """What each frequency is divided by in Llama 3.1 and later: slow ones by the factor, fast
    ones by nothing, those between by something between."""
    rope = read_rope(config)
    if rope.kind != "llama3":
        return {}
    width = head_dim(config)
    factor = _factor(rope.scaling)
    low = rope.scaling.number("low_freq_factor", 1.0)
    high = rope.scaling.number("high_freq_factor", 4.0)
    context = rope.scaling.integer("original_max_position_embeddings", 8192)
    frequencies = rope.base ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    turns = context * frequencies / (2 * math.pi)
    between = np.clip((turns - low) / max(high - low, 1e-9), 0.0, 1.0)
    factors = 1 / ((1 - between) / factor + between)
    return {"rope_freqs.weight": factors.astype(np.float32)}


def long_factors(config: Config) -> Tables:
    """Longrope's two tables, for contexts up to the original one and beyond."""
    rope = read_rope(config)
    if rope.kind != "longrope":
        return {}
    half = int(head_dim(config) * config.number("partial_rotary_factor", 1.0)) // 2
    return {
        f"rope_factors_{name}.weight": _table(rope.scaling, f"{name}_factor", half)
        for name in ("long", "short")
    }


def _table(scaling: Config, key: str, length: int) -> NDArray[np.float32]:
    values = scaling.numbers(key)
    scaling.require(len(values) == length, f"{key} of {len(values)} numbers, not {length},")
    return np.array(values, np.float32)
