"""The fields of Anthropic's requests: what is not honoured is refused, as Anthropic's server does.

Four fields are honoured by doing nothing: ``cache_control``, for every prompt is cached anyway;
``metadata`` and ``service_tier``, which are about Anthropic's own service; and what a value asks
that is so anyway, such as a ``speed`` of ``standard``.
"""

from collections.abc import Mapping
from typing import Any

from cama.core.errors import Unsupported
from cama.wire.openai.params import Params

_ASK_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "speed": ("standard",),
    "context_management": ({}, {"edits": []}),
    "mcp_servers": ([],),
}


def check_fields(params: Params, body: Any) -> None:
    """Raise Unsupported for a field that asks for something, and is none of the TypedDict."""
    params.mapping("cache_control")
    for name, value in params.data.items():
        if value is None or name in body.__annotations__ or value in _ASK_NOTHING.get(name, ()):
            continue
        path = params.path(name)
        raise Unsupported(f"'{path:.100}' is not supported by Cama", field=path)
