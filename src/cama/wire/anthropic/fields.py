"""The fields of Anthropic's requests that need no doing, and those that cannot be done without.

``cache_control`` is honoured as it is, for every prompt is cached; ``metadata`` and
``service_tier`` are about Anthropic's own service. What nobody reads has no effect, and the header
of the answer names it, as Ollama accepts it too. Refused is what an answer would lack.
"""

from collections.abc import Mapping
from typing import Any

from cama.core.errors import Unsupported
from cama.wire.openai.params import Params

_REFUSED: Mapping[str, tuple[Any, ...]] = {"mcp_servers": ([],)}
"""Fields that are refused, unless they ask for nothing: tools of servers that nobody here calls."""


def check_fields(params: Params) -> None:
    """Raise Unsupported for a field that is refused."""
    for name, harmless in _REFUSED.items():
        if params.has(name) and params.any(name) not in harmless:
            raise Unsupported(f"'{name}' is not supported by Cama", field=name)


def check_caching(params: Params) -> None:
    """Read the ``cache_control`` of a body or of a block in it."""
    params.mapping("cache_control")
