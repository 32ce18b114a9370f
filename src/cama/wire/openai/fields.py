"""What becomes of each field of OpenAI's requests: honoured, told to be without effect, or refused.

Nothing is dropped silently. A field whose absence changes what a client gets is refused. One that
only concerns OpenAI's own service (storage, billing, abuse), and one that nobody knows, would break
usual clients if it were refused: the answer names those in the header ``IGNORED_HEADER``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cama.core.errors import Unsupported

IGNORED_HEADER = "x-cama-ignored"

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_MOST_NAMES = 32

_REQUEST = frozenset({"model", "stream", "service_tier"})
_CAMA = frozenset({"keep_alive", "options", "priority"})
_FORM = frozenset({"response_format", "grammar", "structured_outputs"})
_OTHER_FORMS: Mapping[str, tuple[Any, ...]] = dict.fromkeys(
    ("json_schema", "guided_json", "guided_regex", "guided_choice", "guided_grammar"), ()
)
"""Older spellings of other servers: an answer without its form would be no answer."""
_SAMPLING = frozenset({
    "temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty", "logit_bias",
    "top_k", "min_p", "typical_p", "repeat_penalty",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The fields of one endpoint.

    ``refused`` gives the values that ask for nothing, and are therefore accepted; a field is among
    ``honoured`` when it is read at all. What is in neither has no effect.
    """

    honoured: frozenset[str]
    refused: Mapping[str, tuple[Any, ...]]

    def ignored(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """The fields in ``data`` that have no effect. Raises Unsupported for a refused one."""
        names = []
        for name, value in data.items():
            if value is None or name in self.honoured:
                continue
            if name not in self.refused:
                names.append(name)
            elif value not in self.refused[name]:
                raise Unsupported(f"'{name}' is not supported by Cama", field=name)
        return tuple(names)


def ignored_header(names: tuple[str, ...]) -> dict[str, str]:
    """The header that tells of ``names``; a name that a header cannot hold is counted."""
    shown = [name for name in names if _NAME.fullmatch(name)][:_MOST_NAMES]
    if n_more := len(names) - len(shown):
        shown.append(f"({n_more} more)")
    return {IGNORED_HEADER: ", ".join(shown)} if shown else {}


CHAT = Table(
    honoured=_REQUEST | _CAMA | _SAMPLING | _FORM | {
        "messages", "tools", "tool_choice", "parallel_tool_calls", "n",
        "logprobs", "top_logprobs", "stream_options", "max_tokens", "max_completion_tokens",
        "reasoning_effort", "reasoning", "think",
    },
    refused={
        **_OTHER_FORMS,
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "modalities": (["text"],),
        "prediction": (),
        "web_search_options": (),
    },
)  # fmt: skip

COMPLETION = Table(
    honoured=_REQUEST | _CAMA | _SAMPLING | _FORM | {
        "prompt", "suffix", "echo", "n", "best_of", "logprobs", "stream_options", "max_tokens",
    },
    refused=_OTHER_FORMS,
)  # fmt: skip

EMBEDDING = Table(
    honoured=_CAMA | {"model", "input", "encoding_format", "dimensions", "truncate"}, refused={}
)

RERANK = Table(
    honoured=_CAMA | {"model", "query", "documents", "top_n", "return_documents"}, refused={}
)

RESPONSE = Table(
    honoured=_REQUEST | _CAMA | _SAMPLING | _FORM | {
        "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning",
        "max_output_tokens", "previous_response_id", "store", "truncation", "top_logprobs",
        "include", "metadata",
    },
    refused={
        **_OTHER_FORMS,
        "background": (False,),
        "context_management": ([],),
        "conversation": (),
        "max_tool_calls": (),
        "prompt": (),
    },
)  # fmt: skip
