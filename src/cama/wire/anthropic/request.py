"""POST /v1/messages and /v1/messages/count_tokens: their requests as ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from cama.core.errors import InvalidRequest
from cama.core.generation import Constraint
from cama.wire.anthropic.fields import check_caching, check_fields
from cama.wire.anthropic.messages import read_messages, read_system
from cama.wire.anthropic.shapes import LEAST_BUDGET, MOST_TOKENS
from cama.wire.forms import read_grammar, schema_form
from cama.wire.openai.params import Params, named
from cama.wire.openai.sampling import model_fields
from cama.wire.openai.tools import loose_tools
from cama.wire.requests import ChatRequest, Think
from cama.wire.tools import Tool, ToolChoice, check_choice

VERSIONS = ("2023-06-01", "2026-10-21")
"""Those of the header ``anthropic-version``, which may be left out.

They are the same here: the newer one takes ``temperature``, ``top_p`` and ``top_k`` away from the
models of Anthropic, and those of this server have a use for them.
"""

_MOST_STOPS = 256
_TIERS = ("auto", "standard_only")
_CHOICES: Mapping[str, ToolChoice] = {
    "auto": ToolChoice("auto"),
    "any": ToolChoice("required"),
    "none": ToolChoice("none"),
}
_EFFORTS: Mapping[str, Think] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "max",
}


def check_version(version: str) -> None:
    """Raise InvalidRequest for a version of the API that is none of ours; an empty one is."""
    if version and version not in VERSIONS:
        known = " and ".join(VERSIONS)
        raise InvalidRequest(
            f"anthropic-version: {version:.40} is not supported, {known} are",
            field="anthropic-version",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRequest:
    """The conversation whose tokens are to be counted.

    ``ignored`` are the fields without effect; ``think_field`` is the one that says how to think,
    which has none either where the model cannot.
    """

    chat: ChatRequest
    think_field: str
    ignored: tuple[str, ...]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Raises InvalidRequest and Unsupported, with the field that is wrong."""
        params = Params(data)
        return cls(**_conversation(params, {}, MOST_TOKENS))


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesRequest(CountRequest):
    """``shows_thoughts`` is false when the client wants the thoughts' blocks without their text."""

    max_tokens: int
    stop_sequences: tuple[str, ...]
    shows_thoughts: bool

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """As :meth:`CountRequest.read`."""
        params = Params(data)
        _check_service(params)
        max_tokens = params.integer("max_tokens", 1, MOST_TOKENS)
        if max_tokens is None:
            params.refuse("max_tokens", "is required")
        stops = _stops(params)
        options = {"num_predict": max_tokens, **_sampling(params)}
        if stops:
            options["stop"] = list(stops)
        return cls(
            max_tokens=max_tokens,
            stop_sequences=stops,
            shows_thoughts=params.inner("thinking").text("display") != "omitted",
            **_conversation(params, options, max_tokens),
        )


def _conversation(params: Params, options: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """The fields of a :class:`CountRequest`. It must be the last that is read of ``params``."""
    check_fields(params)
    check_caching(params)
    chat = _chat(params, options, max_tokens)
    return {
        "chat": chat,
        "think_field": "thinking" if params.has("thinking") else "output_config.effort",
        "ignored": (*params.unread(), *loose_tools(params, chat.tool_choice)),
    }


def _chat(params: Params, options: Mapping[str, Any], max_tokens: int) -> ChatRequest:
    """A prompt that does not fit is an error, as is one that would lose its beginning."""
    model = model_fields(params)
    return ChatRequest(
        **{**model, "options": {**model["options"], **options}},
        messages=(*read_system(params), *read_messages(params)),
        stream=params.flag("stream"),
        format=_form(params),
        think=_think(params, max_tokens),
        truncate=False,
        shift=False,
        logprobs=False,
        top_logprobs=0,
        debug_render_only=False,
        **_tool_fields(params),
    )


def _check_service(params: Params) -> None:
    """Check what concerns Anthropic's own service and has no effect here."""
    params.inner("metadata").text("user_id")
    params.choice("service_tier", _TIERS, default="auto")


def _sampling(params: Params) -> dict[str, Any]:
    found: dict[str, Any] = {
        "temperature": params.number("temperature", 0, 2),
        "top_p": params.number("top_p", 0, 1),
        "top_k": params.integer("top_k", 0, MOST_TOKENS),
    }
    return {name: value for name, value in found.items() if value is not None}


def _stops(params: Params) -> tuple[str, ...]:
    stops = params.list("stop_sequences")
    if not all(isinstance(stop, str) and stop for stop in stops):
        params.refuse("stop_sequences", "must be an array of strings that are not empty")
    if len(stops) > _MOST_STOPS:
        params.refuse("stop_sequences", f"has more than {_MOST_STOPS} strings")
    return tuple(stops)


def _think(params: Params, max_tokens: int) -> Think:
    """How the model shall think; None leaves it to the model.

    ``budget_tokens`` is checked as Anthropic checks it. It is a hint of how much to think, which
    models here cannot be given, and no limit: that is ``max_tokens``, which counts thoughts too.
    """
    thinking = params.inner("thinking")
    thinking.choice("display", ("summarized", "omitted"), default="summarized")
    config = params.inner("output_config")
    effort = config.choice("effort", tuple(_EFFORTS), default="") if config.has("effort") else ""
    if not params.has("thinking"):
        return _EFFORTS.get(effort)
    match thinking.choice("type", ("enabled", "adaptive", "disabled"), default=""):
        case "disabled":
            return False
        case "adaptive":
            return _EFFORTS.get(effort)
    budget = thinking.integer("budget_tokens", LEAST_BUDGET, MOST_TOKENS)
    if budget is None:
        thinking.refuse("budget_tokens", "is required")
    if budget >= max_tokens:
        thinking.refuse("budget_tokens", "must be less than 'max_tokens'")
    return _EFFORTS.get(effort, True)


def _form(params: Params) -> Constraint | None:
    """Anthropic's own are schemas; a grammar is Cama's."""
    form = _format(params.inner("output_config"))
    grammar = params.parsed("grammar", read_grammar)
    if form and grammar:
        params.refuse("grammar", "does not go together with 'output_config.format'")
    return form or grammar


def _format(config: Params) -> Constraint | None:
    if not config.has("format"):
        return None
    form = config.inner("format")
    form.choice("type", ("json_schema",), default="")
    if not form.has("schema"):
        form.refuse("schema", "is required")
    return schema_form(form.mapping("schema"))


def _tool_fields(params: Params) -> dict[str, Any]:
    """The fields of ``ChatRequest`` that say which tools a chat offers."""
    tools = tuple(_tool(tool) for tool in params.objects("tools"))
    choice = params.inner("tool_choice")
    chosen = _choice(choice) if params.has("tool_choice") else ToolChoice()
    with named("tool_choice"):
        check_choice(chosen, tools)
    return {
        "tools": tools,
        "tool_choice": chosen,
        "parallel_tool_calls": not choice.flag("disable_parallel_tool_use"),
    }


def _tool(tool: Params) -> Tool:
    kind = tool.text("type", "custom")
    if kind != "custom":
        tool.refuse("type", f"{kind!r:.60} is not supported: Cama has no tools of its own")
    check_caching(tool)
    if not tool.has("input_schema"):
        tool.refuse("input_schema", "is required")
    tool.flag("strict")
    where = tool.path("")[:-1]
    schema = tool.mapping("input_schema")
    with named(where):
        return Tool.of(tool.any("name"), tool.any("description"), schema, where)


def _choice(choice: Params) -> ToolChoice:
    kind = choice.choice("type", (*_CHOICES, "tool"), default="")
    if kind != "tool":
        return _CHOICES[kind]
    return ToolChoice("required", choice.needed_text("name"))
