"""Gemma 4 and FunctionGemma: declarations and calls in a notation of their own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cama.templates.renderers.talk import Talk, Turn, calls_of

_SCHEMA_KEYS = ("description", "type", "properties", "required", "nullable")


@dataclass(frozen=True, slots=True)
class _Notation:
    """``quote`` stands on both sides of a text. ``describes_all``: what has no description has an
    empty one.
    """

    quote: str
    describes_all: bool = False

    def text(self, value: object) -> str:
        return f"{self.quote}{value}{self.quote}"

    def value(self, value: Any, *, quotes_keys: bool = False) -> str:
        match value:
            case str():
                return self.text(value)
            case None:
                return "null"
            case bool():
                return "true" if value else "false"
            case Mapping():
                members = (
                    f"{self.text(key) if quotes_keys else key}:"
                    f"{self.value(value[key], quotes_keys=quotes_keys)}"
                    for key in _sorted(value)
                )
                return f"{{{','.join(members)}}}"
            case list() | tuple():
                items = (self.value(item, quotes_keys=quotes_keys) for item in value)
                return f"[{','.join(items)}]"
        return str(value)

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f"call:{name}{self.value(arguments)}"

    def declaration(self, tool: Turn) -> str:
        function = tool.get("function", tool)
        described = f"description:{self.text(function.get('description', ''))}"
        schema = function.get("parameters")
        if schema:
            inner: list[str] = []
            if schema.get("properties"):
                inner.append(f"properties:{{{self._properties(schema['properties'])}}}")
            if schema.get("required"):
                inner.append(f"required:{self._texts(schema['required'])}")
            inner.append(f"type:{self.text(str(schema.get('type', 'object')).upper())}")
            described += f",parameters:{{{','.join(inner)}}}"
        return f"declaration:{function['name']}{{{described}}}"

    def _texts(self, values: Sequence[Any]) -> str:
        return f"[{','.join(map(self.text, values))}]"

    def _properties(self, properties: Mapping[str, Any], *, but: Sequence[str] = ()) -> str:
        keys = (key for key in _sorted(properties) if key not in but)
        return ",".join(f"{key}:{{{','.join(self._property(properties[key]))}}}" for key in keys)

    def _property(self, schema: Mapping[str, Any]) -> Iterator[str]:
        kind = str(schema.get("type", "")).upper()
        if schema.get("description") or self.describes_all:
            yield f"description:{self.text(schema.get('description', ''))}"
        if kind == "STRING" and schema.get("enum"):
            yield f"enum:{self.value(schema['enum'], quotes_keys=True)}"
        items = schema.get("items")
        if kind == "ARRAY" and isinstance(items, Mapping) and items:
            yield f"items:{{{','.join(self._items(items))}}}"
        if schema.get("nullable"):
            yield "nullable:true"
        if kind == "OBJECT":
            inner = schema.get("properties")
            if isinstance(inner, Mapping):
                yield f"properties:{{{self._properties(inner)}}}"
            else:
                yield f"properties:{{{self._properties(schema, but=_SCHEMA_KEYS)}}}"
            if schema.get("required"):
                yield f"required:{self._texts(schema['required'])}"
        if kind or not self.describes_all:
            yield f"type:{self.text(kind)}"

    def _items(self, items: Mapping[str, Any]) -> Iterator[str]:
        for key in _sorted(items):
            match key, items[key]:
                case _, None:
                    continue
                case "properties", value:
                    inner = self._properties(value) if isinstance(value, Mapping) else ""
                    yield f"properties:{{{inner}}}"
                case "required", value:
                    yield f"required:{self._texts(value)}"
                case "type", str(value):
                    yield f"type:{self.text(value.upper())}"
                case "type", value:
                    yield f"type:{self.value([str(one).upper() for one in value])}"
                case _, value:
                    yield f"{key}:{self.value(value, quotes_keys=True)}"


def _sorted(members: Mapping[str, Any]) -> list[str]:
    """Keys in the order of Jinja's dictsort."""
    return sorted(members, key=str.lower)


_GEMMA4, _FUNCTION = _Notation('<|"|>'), _Notation("<escape>", describes_all=True)


def gemma4(talk: Talk, *, thoughtless: str = "") -> str:
    """Results of tools belong to the turn that called them, and turns of the model that follow each
    other are one. ``thoughtless`` begins an answer without thoughts: large models have it so.
    """
    parts = [talk.bos]
    if talk.thinks or talk.tools or talk.has_system:
        declared = "".join(f"<|tool>{_GEMMA4.declaration(tool)}<tool|>" for tool in talk.tools)
        think = "<|think|>\n" if talk.thinks else ""
        parts.append(f"<|turn>system\n{think}{talk.system.strip()}{declared}<turn|>\n")
    turns = list(talk.said)
    last_question = max((i for i, t in enumerate(turns) if t["role"] == "user"), default=-1)
    spoken = [(i, turn) for i, turn in enumerate(turns) if turn["role"] != "tool"]
    roles = ["", *(turn["role"] for _, turn in spoken), ""]
    for n, (i, turn) in enumerate(spoken, 1):
        role = "model" if turn["role"] == "assistant" else turn["role"]
        if roles[n - 1 : n + 1] != ["assistant", "assistant"]:
            parts.append(f"<|turn>{role}\n")
        results = _results(turns, i) if turn.get("tool_calls") else []
        parts.append(_gemma4_turn(turn, results, is_new=i > last_question))
        parts.append(_gemma4_end(turn, results, roles[n + 1]))
    if talk.goes_on:
        parts.append(_gemma4_start(talk, spoken[-1] if spoken else None, thoughtless))
    return "".join(parts)


def _gemma4_start(talk: Talk, last: tuple[int, Turn] | None, thoughtless: str) -> str:
    """The beginning of the next answer; behind calls it is that of the model's open turn."""
    if last is None or not last[1].get("tool_calls"):
        return f"<|turn>model\n{'' if talk.thinks else thoughtless}"
    has_results = bool(_results(talk.said, last[0]))
    return "<|channel>thought\n" if has_results and talk.thinks else ""


def _gemma4_turn(turn: Turn, results: Sequence[Turn], *, is_new: bool) -> str:
    """Thoughts, calls, their results, and the text."""
    thoughts, is_models = turn.get("reasoning_content"), turn["role"] == "assistant"
    parts = (
        [f"<|channel>thought\n{thoughts}\n<channel|>"] if thoughts and is_models and is_new else []
    )
    parts += [f"<|tool_call>{_GEMMA4.call(*call)}<tool_call|>" for call in calls_of(turn)]
    parts += [
        f"<|tool_response>response:{name}{{value:{_GEMMA4.text(result['content'])}}}<tool_response|>"
        for result, name in zip(results, _names(turn, results), strict=True)
    ]
    return "".join([*parts, _gemma4_text(turn)])


def _gemma4_text(turn: Turn) -> str:
    """Without thoughts that stand in it."""
    text = str(turn["content"] or "")
    if turn["role"] == "assistant":
        text = "".join(part.split("<|channel>")[0] for part in text.split("<channel|>"))
    return text.strip()


def _gemma4_end(turn: Turn, results: Sequence[Turn], next_role: str) -> str:
    calls = turn.get("tool_calls")
    if calls and not results:
        return "<|tool_response>"
    goes_on = turn["role"] == next_role == "assistant"
    is_open = bool(results) and not next_role and not _gemma4_text(turn)
    return "" if goes_on or is_open else "<turn|>\n"


def _results(turns: Sequence[Turn], i: int) -> list[Turn]:
    """The results of tools right behind turn ``i``."""
    found: list[Turn] = []
    for turn in turns[i + 1 :]:
        if turn["role"] != "tool":
            break
        found.append(turn)
    return found


def _names(turn: Turn, results: Sequence[Turn]) -> Iterator[str]:
    """The names of the tools whose results these are: by the ids of the calls, as they are given,
    or by their order."""
    called = [name for name, _ in calls_of(turn)]
    calls = zip(turn.get("tool_calls") or (), called, strict=True)
    ids = {str(call["id"]): name for call, name in calls if call.get("id")}
    for i, result in enumerate(results):
        given = str(result.get("name") or "") or (called[i] if i < len(called) else "unknown")
        yield ids.get(str(result.get("tool_call_id")), given)


def function_gemma(talk: Talk) -> str:
    """Results of tools belong to the model's turn, which goes on behind them."""
    parts = [talk.bos, _developer(talk)]
    turns, is_open = list(talk.said), False
    for i, turn in enumerate(turns):
        if turn["role"] == "tool":
            continue
        role = "model" if turn["role"] == "assistant" else turn["role"]
        parts.append("" if is_open and role in ("model", "user") else f"<start_of_turn>{role}\n")
        parts.append((turn["content"] or "").strip())
        calls, results = list(calls_of(turn)), _results(turns, i)
        parts += [
            f"<start_function_call>{_FUNCTION.call(*call)}<end_function_call>" for call in calls
        ]
        parts += [
            f"<start_function_response>response:{name}{{{_FUNCTION.text(result['content'])}}}"
            "<end_function_response>"
            for result, name in zip(results, _names(turn, results), strict=True)
        ]
        is_open = bool(calls and results)
        parts.append("" if is_open else "<end_of_turn>\n")
    return "".join([*parts, "<start_of_turn>model\n" if talk.goes_on and not is_open else ""])


_CALLS_FUNCTIONS = "You can do function calling with the following functions:"


def _developer(talk: Talk) -> str:
    """The turn that declares functions, behind what the system says."""
    system = talk.system.strip()
    if not system and not talk.tools:
        return ""
    head = [system, _CALLS_FUNCTIONS if talk.tools and system != _CALLS_FUNCTIONS else ""]
    declared = "".join(
        f"<start_function_declaration>{_FUNCTION.declaration(tool)}<end_function_declaration>"
        for tool in talk.tools
    )
    text = "\n".join(filter(None, head))
    return f"<start_of_turn>developer\n{text}{declared}<end_of_turn>\n"
