"""What becomes of each field of OpenAI's requests: honoured, told to be without effect, or refused.

Nothing is dropped silently. A field whose absence changes what a client gets is refused. One that
only concerns OpenAI's own service (storage, billing, abuse), and one that nobody knows, would break
usual clients if it were refused: the answer names those in the header ``IGNORED_HEADER``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cama.core.errors import Unsupported
from cama.wire.openai import shapes

IGNORED_HEADER = "x-cama-ignored"

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_MOST_NAMES = 32

_OTHER_FORMS: Mapping[str, tuple[Any, ...]] = dict.fromkeys(
    ("json_schema", "guided_json", "guided_regex", "guided_choice", "guided_grammar"), ()
)
"""Older spellings of other servers: an answer without its form would be no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The fields of one endpoint.

    ``body`` is a TypedDict of the fields that are honoured. ``refused`` gives the values that ask
    for nothing, and are therefore accepted. What is in neither has no effect.
    """

    body: Any
    refused: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def ignored(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """The fields in ``data`` that have no effect. Raises Unsupported for a refused one."""
        names = []
        for name, value in data.items():
            if value is None or name in self.body.__annotations__:
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
    body=shapes.ChatCompletionBody,
    refused={
        **_OTHER_FORMS,
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "modalities": (["text"],),
        "prediction": (),
        "web_search_options": (),
    },
)

COMPLETION = Table(body=shapes.CompletionBody, refused=_OTHER_FORMS)

EMBEDDING = Table(body=shapes.EmbeddingsBody)

RERANK = Table(body=shapes.RerankBody)

RESPONSE = Table(
    body=shapes.ResponseBody,
    refused={
        **_OTHER_FORMS,
        "background": (False,),
        "context_management": ([],),
        "conversation": (),
        "max_tool_calls": (),
        "prompt": (),
    },
)
