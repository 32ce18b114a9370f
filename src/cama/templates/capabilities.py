"""What a model can be asked for, told by its template."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from cama.core.errors import InvalidTemplate
from cama.templates.answers.families import answer_format, is_parser
from cama.templates.answers.formats import AnswerFormat, TaggedFormat
from cama.templates.answers.tagged import Tags
from cama.templates.gotmpl import nodes
from cama.templates.gotmpl.nodes import Body
from cama.templates.gotmpl.template import GoTemplate

Language = Literal["go", "jinja", "builtin"]

_CACHED: Final = 64
_TOOL_ROLES: Final = ("'tool'", '"tool"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """``round_trip``: calls of tools and their results find a place in the prompt again."""

    tools: bool = False
    insert: bool = False
    thinking: bool = False
    round_trip: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What the API calls them."""
        named = {"tools": self.tools, "insert": self.insert, "thinking": self.thinking}
        return tuple(name for name, is_there in named.items() if is_there)


@lru_cache(maxsize=_CACHED)
def capabilities(language: Language, source: str, parser: str = "") -> Capabilities:
    """Those of a template in ``language``; one that cannot be read has none.

    ``parser`` is the one that the model's configuration names: it says how answers look. A renderer
    of our own has no source, and does all that its parser reads.
    """
    match language:
        case "go":
            return _of_go(source, parser)
        case "jinja":
            return _of_jinja(source, parser)
    answers = answers_of(language, source, parser)
    calls = answers.calls_tools
    return Capabilities(tools=calls, thinking=answers.thinks, round_trip=calls)


@lru_cache(maxsize=_CACHED)
def answers_of(language: Language, source: str, parser: str = "") -> AnswerFormat:
    """What answers look like: as those of a known family, with thoughts between the tags that a
    template in Go's language puts around them."""
    known = answer_format(source, parser)
    if language == "builtin" and isinstance(known, TaggedFormat):
        return replace(known, writes_calls=True)
    if language != "go" or known.thinks or not isinstance(known, TaggedFormat):
        return known
    try:
        tags = thinking_tags(GoTemplate.read(source))
    except InvalidTemplate:
        return known
    return replace(known, tags=Tags(*tags)) if tags else known


def _of_jinja(source: str, parser: str) -> Capabilities:
    answers = answers_of("jinja", source, parser)
    takes_results = any(role in source for role in _TOOL_ROLES)
    return Capabilities(
        tools=answers.calls_tools,
        thinking=answers.thinks,
        round_trip=takes_results and "tool_calls" in source,
    )


def _of_go(source: str, parser: str) -> Capabilities:
    try:
        template = GoTemplate.read(source)
    except InvalidTemplate:
        return Capabilities()
    names, answers = template.names(), answers_of("go", source, parser)
    return Capabilities(
        tools="tools" in names or (is_parser(parser) and answers.calls_tools),
        insert="suffix" in names,
        thinking=answers.thinks,
        round_trip="toolcalls" in names and "tool" in _constants(template),
    )


def _constants(template: GoTemplate) -> set[object]:
    return {
        operand.value
        for node in template.nodes()
        for operand in nodes.operands(nodes.pipe_of(node))
        if isinstance(operand, nodes.Literal)
    }


def thinking_tags(template: GoTemplate) -> tuple[str, str] | None:
    """The texts that a template writes around the thoughts of messages; None without thoughts.

    They are the first and the last text of the innermost block that shows thoughts.
    """
    for body in (template.body, *template.defined.values()):
        for block in _blocks_of_messages(body):
            found = _around_thoughts(block)
            if found is not None:
                return found
    return None


def _blocks_of_messages(body: Body) -> Iterator[Body]:
    for node in nodes.walk(body):
        if isinstance(node, nodes.Range) and _asks_for(node, "Messages"):
            yield node.body


def _around_thoughts(body: Body) -> tuple[str, str] | None:
    for node in body:
        if isinstance(node, nodes.If | nodes.With | nodes.Range):
            for inner in (node.body, node.otherwise):
                if (found := _around_thoughts(inner)) is not None:
                    return found
    if not any(isinstance(node, nodes.Action) and _asks_for(node, "Thinking") for node in body):
        return None
    texts = [node.text.strip() for node in body if isinstance(node, nodes.Text)]
    return (texts[0], texts[-1]) if len(texts) > 1 and texts[0] and texts[-1] else None


def _asks_for(node: nodes.Node, name: str) -> bool:
    return any(
        isinstance(operand, nodes.Field | nodes.Variable) and name in operand.names
        for operand in nodes.operands(nodes.pipe_of(node))
    )
