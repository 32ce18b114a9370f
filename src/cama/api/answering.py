"""What an answer is to be made of: its thoughts, its calls of tools, its form."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cama.api.names import full_name
from cama.core.answer import Piece
from cama.core.errors import Unsupported
from cama.core.generation import Constraint
from cama.store.models import StoredModel
from cama.templates.answers.base import AnswerParser
from cama.templates.answers.formats import AnswerFormat, Asked, HarmonyFormat, TaggedFormat
from cama.templates.answers.identifiers import identifiers
from cama.wire.requests import ChatRequest, Common, GenerateRequest, Message
from cama.wire.tools import Tool, ToolChoice

_PULL_AGAIN = ". Pull the model again to get the latest version with full thinking support"
_LEVELS = {"max": "high"}
"""Levels of thinking that templates in Jinja, and gpt-oss, do not know, with those that come
nearest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How one request wants to be answered by a model that answers in ``format``.

    ``tools`` may be called, by the names that the model knows them by; ``real_names`` are those of
    the client where they differ. ``think`` is None where the request leaves it to the model.
    ``reads_calls``: calls are told from text also where no tool is offered, as Ollama's parsers do.
    """

    format: AnswerFormat
    think: bool | str | None
    form: Constraint | None
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    parallel: bool = True
    real_names: Mapping[str, str] = field(default_factory=dict)
    reads_calls: bool = False

    @classmethod
    def of(cls, body: Common, own: AnswerFormat, *, has_parser: bool) -> "Answering":
        """``own`` is how the model answers, and ``has_parser`` whether its configuration says so.

        A prompt that is no conversation gets plain text.
        """
        match body:
            case GenerateRequest() if body.raw or body.suffix:
                think = None if own.thinks else body.think
                return cls(format=TaggedFormat(), think=think, form=body.format)
            case ChatRequest():
                offered = body.tools if body.tool_choice.mode != "none" else ()
                answering = cls(
                    format=own,
                    think=body.think,
                    form=body.format,
                    tools=offered,
                    choice=body.tool_choice,
                    parallel=body.parallel_tool_calls,
                    reads_calls=has_parser and body.tool_choice.mode != "none",
                )
                return answering._renamed() if isinstance(own, HarmonyFormat) else answering
        return cls(format=own, think=body.think, form=body.format, reads_calls=has_parser)

    def _renamed(self) -> "Answering":
        """With names that are identifiers, as gpt-oss writes them."""
        known = identifiers(tool.name for tool in self.tools)
        return replace(
            self,
            tools=tuple(replace(tool, name=known[tool.name]) for tool in self.tools),
            choice=replace(self.choice, name=known.get(self.choice.name, self.choice.name)),
            real_names={made: name for name, made in known.items() if made != name},
        )

    def check(self, name: str, model: StoredModel) -> None:
        """Raise Unsupported for what the model, that the client calls ``name``, cannot do."""
        if self.tools and not self.format.calls_tools and "tools" not in model.capabilities:
            raise Unsupported(f"{full_name(model.name)} does not support tools")
        if self.think and not self.can_think(model):
            raise Unsupported(f'"{name}" does not support thinking{_advice(model)}')

    def can_think(self, model: StoredModel) -> bool:
        """Whether the model can have thoughts, wanted or not."""
        return self.format.thinks or "thinking" in model.capabilities

    @property
    def thinks(self) -> bool:
        """Whether thoughts are wanted: they are, unless the request says otherwise."""
        return self.format.thinks and self.think is not False

    @property
    def variables(self) -> dict[str, Any]:
        """What templates are told; families have several names for the same."""
        told: dict[str, Any] = {}
        if self.tools:
            told["tools"] = [tool.to_json() for tool in self.tools]
        if self.format.thinks or self.think is not None:
            told |= {"enable_thinking": self.thinks, "thinking": self.thinks}
        if isinstance(self.think, str):
            known = _LEVELS.get(self.think, self.think)
            told["reasoning_effort"] = known
            told["think_level"] = known if isinstance(self.format, HarmonyFormat) else self.think
        return told

    def spelled(self, message: Message) -> Message:
        """``message`` as the template can write it: where that knows no calls, they are text."""
        message = self._with_known_names(message)
        if not message.tool_calls:
            return message
        written = self.format.written(message.tool_calls)
        if not written:
            return message
        return replace(message, content=message.content + written, tool_calls=())

    def _with_known_names(self, message: Message) -> Message:
        known = {name: made for made, name in self.real_names.items()}
        if not known:
            return message
        return replace(
            message,
            tool_name=known.get(message.tool_name, message.tool_name),
            tool_calls=tuple(
                replace(call, name=known.get(call.name, call.name)) for call in message.tool_calls
            ),
        )

    @property
    def visible(self) -> tuple[str, ...]:
        """Control tokens that the answer's text must show."""
        return self.format.marks

    def constraint(self, prompt: str) -> Constraint | None:
        """What the answer to ``prompt`` must match, if anything."""
        asked = Asked(
            prompt=prompt,
            tools=self._callable(),
            parallel=self.parallel and not self.choice.name,
            may_think=self.thinks,
        )
        if self.choice.mode == "required":
            return self.format.held_to(None, asked)
        plain = not (asked.tools or self.format.thinks)
        if self.form is None or plain:
            return self.form
        return self.format.held_to(self.form, asked)

    def _callable(self) -> dict[str, Any]:
        named = self.choice.name
        tools = (tool for tool in self.tools if not named or tool.name == named)
        return {tool.name: tool.parameters for tool in tools}

    def parser(self, prompt: str) -> AnswerParser:
        """A parser of the answer to ``prompt``."""
        tools = {tool.name: tool.parameters for tool in self.tools}
        parser = self.format.parser(tools, prompt, reads_calls=self.reads_calls or bool(tools))
        return _Wanted(self, parser)


def _advice(model: StoredModel) -> str:
    """For models whose older templates had no place for thoughts."""
    is_renewed = model.family == "qwen3" or model.name.startswith("deepseek-r1:")
    return _PULL_AGAIN if is_renewed else ""


class _Wanted:
    """What is wanted of the pieces of an answer: no thoughts if they are off, maybe one call."""

    def __init__(self, answering: Answering, parser: AnswerParser) -> None:
        self._parser = parser
        self._keeps_thoughts = answering.think is not False
        self._n_calls = None if answering.parallel else 1
        self._names = answering.real_names

    def feed(self, text: str) -> Piece:
        return self._wanted(self._parser.feed(text))

    def end(self) -> Piece:
        return self._wanted(self._parser.end())

    def _wanted(self, piece: Piece) -> Piece:
        if not self._keeps_thoughts:
            piece = replace(piece, thinking="")
        if self._n_calls is not None:
            calls = tuple(call for call in piece.tool_calls if call.index < self._n_calls)
            piece = replace(piece, tool_calls=calls)
        if self._names and piece.tool_calls:
            named = (replace(c, name=self._names.get(c.name, c.name)) for c in piece.tool_calls)
            piece = replace(piece, tool_calls=tuple(named))
        return piece
