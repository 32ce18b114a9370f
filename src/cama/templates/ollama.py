"""Go templates as Ollama runs them: which data they get, and how often."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final

from cama.core.errors import InvalidTemplate
from cama.templates.gotmpl import nodes
from cama.templates.gotmpl.nodes import Body
from cama.templates.gotmpl.template import GoTemplate
from cama.templates.ollama_data import Turn, collated, message_data, system_text, tools_data

_CACHED: Final = 64
_RESPONSE: Final = "Response"
_SHOW_RESPONSE: Final = nodes.Action(1, nodes.Pipe((nodes.Command(nodes.Field((_RESPONSE,)), ()),)))
_DEFAULT_LEVEL: Final = "medium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """Whether the model shall think, and how much; nobody said so unless ``is_set``."""

    is_set: bool = False
    on: bool = False
    level: str = ""

    @classmethod
    def of(cls, think: bool | None, level: str) -> "Thinking":
        if think is None:
            return cls()
        return cls(is_set=True, on=think, level=(level or _DEFAULT_LEVEL) if think else "")

    def data(self) -> dict[str, Any]:
        return {"Think": self.on, "ThinkLevel": self.level, "IsThinkSet": self.is_set}


class OllamaTemplate:
    """A template in Go's language with the texts and data that Ollama gives it. Threads may share
    one. Raises InvalidTemplate, with the line, when ``source`` cannot be read.
    """

    leaves_open: ClassVar[bool] = True

    def __init__(self, source: str, *, now: Callable[[], datetime] = datetime.now) -> None:
        self._read = _read(source)
        self._now = now

    @property
    def template(self) -> GoTemplate:
        return self._read.template

    def render(
        self,
        messages: Sequence[Turn],
        *,
        tools: Sequence[Turn] | None = None,
        add_generation_prompt: bool = True,
        enable_thinking: bool | None = None,
        think_level: str = "",
        **extra: Any,
    ) -> str:
        """The prompt for ``messages``. It ends with a last answer that was begun, when the template
        has it so; a Go template is told nothing of generation prompts and other variables.

        Raises InvalidRequest when the template fails or costs too much.
        """
        thinking = Thinking.of(enable_thinking, think_level)
        return self.execute(messages, tools or (), thinking)

    def execute(self, messages: Sequence[Turn], tools: Sequence[Turn], thinking: Thinking) -> str:
        """As :meth:`render`."""
        turns = collated(messages)
        if not self._read.takes_messages:
            return "".join(self._legacy(turns, thinking))
        data = {
            "System": system_text(turns),
            "Messages": list(map(message_data, turns)),
            "Tools": tools_data(tools),
            _RESPONSE: "",
        }
        return self._read.template.execute(data | thinking.data(), self._now)

    def insert(
        self,
        prompt: str,
        suffix: str,
        *,
        enable_thinking: bool | None = None,
        think_level: str = "",
        **extra: Any,
    ) -> str:
        """The prompt for what belongs between ``prompt`` and ``suffix``. Raises InvalidRequest."""
        thinking = Thinking.of(enable_thinking, think_level)
        data = {"Prompt": prompt, "Suffix": suffix, _RESPONSE: ""}
        return self._read.template.execute(data | thinking.data(), self._now)

    def _legacy(self, turns: Sequence[Turn], thinking: Thinking) -> Iterator[str]:
        """One rendering for each turn of system, prompt and response; the last is left open."""
        said = {"System": "", "Prompt": "", _RESPONSE: ""}
        rest = thinking.data()
        for turn in turns:
            name, ends_turn = _LEGACY.get(turn["role"], ("", ()))
            if not name:
                continue
            if any(said[earlier] for earlier in ends_turn):
                yield self._read.template.execute(said | rest, self._now)
                said = dict.fromkeys(said, "")
            said[name] = turn["content"]
        yield self._read.last_turn.execute(said | rest, self._now)


_LEGACY: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "system": ("System", ("Prompt", _RESPONSE)),
    "user": ("Prompt", (_RESPONSE,)),
    "assistant": (_RESPONSE, ()),
}
"""What a message of a role is to templates without messages, and which of what came before it
makes it begin another turn."""


@dataclass(frozen=True, slots=True)
class _Read:
    """``last_turn`` is the template up to the response."""

    template: GoTemplate
    last_turn: GoTemplate
    takes_messages: bool


@lru_cache(maxsize=_CACHED)
def _read(source: str) -> _Read:
    template = GoTemplate.read(source)
    for node in template.nodes():
        if isinstance(node, nodes.Call) and node.pipe is None:
            raise InvalidTemplate(
                f"template error: line {node.line}: template {node.name!r} is given no data",
                line=node.line,
            )
    names = template.names()
    takes_messages = "messages" in names
    if not takes_messages and "response" not in names:
        template = template.with_body((*template.body, _SHOW_RESPONSE))
    until, _ = _until_response(template.body)
    return _Read(template, template.with_body(until), takes_messages)


def _until_response(body: Body) -> tuple[Body, bool]:
    """``body`` without what follows the response, and whether that is in it."""
    kept: list[nodes.Node] = []
    for node in body:
        if isinstance(node, nodes.If | nodes.With | nodes.Range):
            inner, found = _until_response(node.body)
            otherwise, found_there = ((), False) if found else _until_response(node.otherwise)
            kept.append(replace(node, body=inner, otherwise=otherwise))
            found = found or found_there
        else:
            kept.append(node)
            found = _shows_response(node)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _shows_response(node: nodes.Node) -> bool:
    return any(
        isinstance(operand, nodes.Field) and _RESPONSE in operand.names
        for operand in nodes.operands(nodes.pipe_of(node))
    )
