"""Gemma 4 and FunctionGemma: declarations and calls in a notation of their own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cama.templates.renderers.talk import Talk, Turn, calls_of

_SCHEMA_KEYS = ("description", "type", "properties", "required", "nullable")


@dataclass(frozen=True, slots=True)
class _Notation:
    """``quote`` stands on both sides of a text."""

    quote: str

    def text(self, value: object) -> str:
        return f"{self.quote}{value}{self.quote}"

    def value(self, value: Any, *, quotes_keys: bool = False) -> str:
        match value:
            case str():
                return self.text(value)
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

    def response(self, name: str, content: str) -> str:
        return f"response:{name}{{value:{self.value(content)}}}"

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

    def _properties(self, properties: Mapping[str, Any]) -> str:
        keys = (key for key in _sorted(properties) if key not in _SCHEMA_KEYS)
        return ",".join(f"{key}:{{{','.join(self._property(properties[key]))}}}" for key in keys)

    def _property(self, schema: Mapping[str, Any]) -> Iterator[str]:
        kind = str(schema.get("type", "")).upper()
        if schema.get("description"):
            yield f"description:{self.text(schema['description'])}"
        if kind == "STRING" and schema.get("enum"):
            yield f"enum:{self.value(schema['enum'], quotes_keys=True)}"
        items = schema.get("items")
        if kind == "ARRAY" and isinstance(items, Mapping) and items:
            yield f"items:{{{','.join(self._items(items))}}}"
        if schema.get("nullable"):
            yield "nullable:true"
        if kind == "OBJECT":
            inner = schema.get("properties")
            inner = inner if isinstance(inner, Mapping) else schema
            yield f"properties:{{{self._properties(inner)}}}"
            if schema.get("required"):
                yield f"required:{self._texts(schema['required'])}"
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


_GEMMA4, _FUNCTION = _Notation('<|"|>'), _Notation("<escape>")


def gemma4(talk: Talk) -> str:
    """Thoughts are shown only between calls that follow the last question."""
    parts = [talk.bos]
    if talk.thinks or talk.tools or talk.has_system:
        declared = "".join(f"<|tool>{_GEMMA4.declaration(tool)}<tool|>" for tool in talk.tools)
        think = "<|think|>\n" if talk.thinks else ""
        parts.append(f"<|turn>system\n{think}{talk.system.strip()}{declared}<turn|>\n")
    turns, ends = list(talk.said), True
    last_question = max((i for i, t in enumerate(turns) if t["role"] == "user"), default=-1)
    before = ""
    for i, turn in enumerate(turns):
        if turn["role"] == "tool":
            continue
        role = "model" if turn["role"] == "assistant" else turn["role"]
        goes_on = role == before == "model"
        text, ends = _gemma4_turn(turn, _results(turns, i), is_new=i > last_question)
        parts.append(text if goes_on else f"<|turn>{role}\n{text}")
        before = role
    if talk.goes_on and ends:
        closed = "" if talk.thinks else "<|channel>thought\n<channel|>"
        parts.append(f"<|turn>model\n{closed}")
    return "".join(parts)


def _gemma4_turn(turn: Turn, results: Sequence[Turn], *, is_new: bool) -> tuple[str, bool]:
    """A turn, and whether the next one begins anew."""
    calls = list(calls_of(turn))
    thoughts, content = turn.get("reasoning_content"), turn["content"] or ""
    if turn["role"] == "assistant":
        content = "".join(part.split("<|channel>")[0] for part in content.split("<channel|>"))
    parts = [f"<|channel>thought\n{thoughts}\n<channel|>"] if thoughts and is_new and calls else []
    parts += [f"<|tool_call>{_GEMMA4.call(*call)}<tool_call|>" for call in calls]
    if calls:
        named = zip(results, _names(turn, results), strict=True)
        parts += [
            f"<|tool_response>{_GEMMA4.response(name, str(result['content']))}<tool_response|>"
            for result, name in named
        ]
    parts.append(content.strip())
    if calls and not results:
        return "".join([*parts, "<|tool_response>"]), False
    if calls and not turn["content"]:
        return "".join(parts), False
    return "".join([*parts, "<turn|>\n"]), not calls


def _results(turns: Sequence[Turn], i: int) -> list[Turn]:
    """The results of tools right behind turn ``i``."""
    found: list[Turn] = []
    for turn in turns[i + 1 :]:
        if turn["role"] != "tool":
            break
        found.append(turn)
    return found


def _names(turn: Turn, results: Sequence[Turn]) -> Iterator[str]:
    """The names of the tools whose results these are, by the ids of the calls."""
    ids = {str(call.get("id")): name for call, (name, _) in _pairs(turn)}
    for result in results:
        yield ids.get(str(result.get("tool_call_id")), str(result.get("name") or "unknown"))


def _pairs(turn: Turn) -> Iterator[tuple[Turn, tuple[str, Mapping[str, Any]]]]:
    return zip(turn.get("tool_calls") or (), calls_of(turn), strict=True)


def function_gemma(talk: Talk) -> str:
    parts = [talk.bos]
    if talk.tools or talk.has_system:
        declared = "".join(
            f"<start_function_declaration>{_FUNCTION.declaration(tool)}<end_function_declaration>"
            for tool in talk.tools
        )
        told = "You are a model that can do function calling with the following functions"
        head = [talk.system.strip(), told + declared if talk.tools else ""]
        text = "\n".join(part for part in head if part)
        parts.append(f"<start_of_turn>developer\n{text}<end_of_turn>\n")
    is_open = False  # the model's turn goes on behind the results of what it called
    turns = list(talk.said)
    for i, turn in enumerate(turns):
        if turn["role"] == "tool":
            continue
        role, calls = "model" if turn["role"] == "assistant" else turn["role"], list(calls_of(turn))
        parts.append("" if is_open and role == "model" else f"<start_of_turn>{role}\n")
        parts.append((turn["content"] or "").strip())
        parts += [
            f"<start_function_call>{_FUNCTION.call(*call)}<end_function_call>" for call in calls
        ]
        results = _results(turns, i) if calls else []
        parts += [
            "<start_function_response>"
            f"{_FUNCTION.response(name, str(result['content']))}<end_function_response>"
            for result, name in zip(results, _names(turn, results), strict=True)
        ]
        is_open = bool(calls)
        parts.append("" if is_open else "<end_of_turn>\n")
    return "".join([*parts, "<start_of_turn>model\n" if talk.goes_on and not is_open else ""])
