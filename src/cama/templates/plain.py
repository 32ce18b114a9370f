"""The prompt of a model without a chat template: what was said, one text after another."""

from collections.abc import Mapping, Sequence
from typing import Any

_SPOKEN = ("user", "assistant")


class PlainTemplate:
    """Does what Ollama's template ``{{ .Prompt }}`` does: system messages have no place in it."""

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **extra: Any,
    ) -> str:
        """The users' and assistants' texts; neighbours of one role have a blank line between."""
        pieces: list[str] = []
        previous = ""
        for message in messages:
            if message["role"] not in _SPOKEN:
                continue
            if message["role"] == previous:
                pieces.append("\n\n")
            pieces.append(message["content"])
            previous = message["role"]
        return "".join(pieces)
