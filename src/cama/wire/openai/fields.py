"""What becomes of each field of OpenAI's requests: honoured, told to be without effect, or refused.

Nothing is dropped silently. A field whose absence changes what a client gets is refused. One that
only concerns OpenAI's own service (storage, billing, abuse, its tools) or how fast an answer comes,
and one that nobody knows, would break usual clients if it were refused: the answer names those in a
header (``wire/ignored.py``), and those within objects that nobody reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cama.core.errors import Unsupported
from cama.wire.openai import shapes
from cama.wire.openai.params import Params

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

    def check(self, params: Params) -> None:
        """Raise Unsupported for a field that is refused."""
        for name, harmless in self.refused.items():
            if params.has(name) and params.any(name) not in harmless:
                raise Unsupported(f"'{name}' is not supported by Cama", field=name)


CHAT = Table(
    body=shapes.ChatCompletionBody,
    refused={
        **_OTHER_FORMS,
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "modalities": (["text"],),
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
        "conversation": (),
        "prompt": (),
    },
)
