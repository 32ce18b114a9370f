"""What all requests for text share: how tokens are chosen, and how many."""

from collections.abc import Mapping
from typing import Any, get_args

from cama.core.duration import parse_keep_alive
from cama.core.priority import PRIORITIES, Priority
from cama.wire.openai.params import Params
from cama.wire.openai.shapes import MOST_TOKENS, TextBody, Tier
from cama.wire.options import EFFECTIVE
from cama.wire.schema import ranges

DEFAULTS: Mapping[str, Any] = {"temperature": 1.0, "top_p": 1.0}
"""OpenAI's, for models that recommend nothing of their own."""

_MOST_STOPS = 256
_RANGES = ranges(TextBody)
_INTEGERS = ("top_k", "seed")


def model_fields(params: Params) -> dict[str, Any]:
    """The model, and what Cama wants to know beside it."""
    return {
        "model": params.needed_text("model").strip(),
        "keep_alive": _keep_alive(params),
        "options": _own_options(params.inner("options")),
        "priority": _priority(params, "interactive"),
    }


def _own_options(params: Params) -> Mapping[str, Any]:
    for name in EFFECTIVE:  # what else there is has no effect
        params.any(name)
    return params.data


def text_fields(params: Params, max_tokens: int | None) -> dict[str, Any]:
    """The fields of ``Common``. A prompt that does not fit is an error, and so it ends."""
    limit = {} if max_tokens is None else {"num_predict": max_tokens}
    model = model_fields(params)
    return {
        **model,
        "priority": _priority(params, _tier(params)),
        "options": {**model["options"], **_options(params), **limit},
        "defaults": DEFAULTS,
        "stream": params.flag("stream"),
        "truncate": False,
        "shift": False,
        "debug_render_only": False,
        "logit_bias": _logit_bias(params),
    }


def token_limit(params: Params, *names: str, least: int = 1) -> int | None:
    """The limit under one of ``names``, the first of them if several agree."""
    given = [name for name in names if params.has(name)]
    limits = {params.integer(name, least, MOST_TOKENS) for name in given}
    if len(limits) > 1:
        params.refuse(given[-1], f"says something else than '{given[0]}': give one of them")
    return limits.pop() if limits else None


def include_usage(params: Params) -> bool:
    return params.inner("stream_options").flag("include_usage")


def _options(params: Params) -> dict[str, Any]:
    """Ours have the same names as theirs."""
    options: dict[str, Any] = {
        name: params.number(name, bounds.least, bounds.most)
        for name, bounds in _RANGES.items()
        if params.has(name) and name not in _INTEGERS
    }
    for name in filter(params.has, _INTEGERS):
        options[name] = params.integer(name, int(_RANGES[name].least), int(_RANGES[name].most))
    if stops := params.strings("stop"):
        if len(stops) > _MOST_STOPS:
            params.refuse("stop", f"has more than {_MOST_STOPS} strings")
        options["stop"] = list(stops)
    return options


def _logit_bias(params: Params) -> dict[int, float]:
    inner = params.inner("logit_bias")
    bias: dict[int, float] = {}
    for key in inner.data:
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            params.refuse("logit_bias", "must have token ids as its keys")
        value = inner.number(key, -100, 100)
        if value is not None:
            bias[int(key)] = value
    return bias


def _keep_alive(params: Params) -> float | None:
    if not params.has("keep_alive"):
        return None
    return params.parsed("keep_alive", parse_keep_alive)


def _priority(params: Params, default: Priority) -> Priority:
    wanted = params.choice("priority", PRIORITIES, default)
    return "batch" if wanted == "batch" else "interactive"


def _tier(params: Params) -> Priority:
    """OpenAI's tier of requests that may take their time is ``flex``."""
    tier = params.choice("service_tier", get_args(Tier), "auto")
    return "batch" if tier == "flex" else "interactive"
