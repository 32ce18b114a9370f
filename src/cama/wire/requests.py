"""The requests of the API, each read from the fields of its JSON body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, get_args

from cama.core.answer import ToolCall
from cama.core.duration import parse_keep_alive
from cama.core.errors import InvalidRequest
from cama.core.generation import Constraint
from cama.core.priority import PRIORITIES, Priority
from cama.wire import shapes
from cama.wire.adapters import AdapterChoice, read_adapters
from cama.wire.decode import Fields
from cama.wire.forms import read_form
from cama.wire.images import read_images
from cama.wire.options import EFFECTIVE, option_schema
from cama.wire.schema import As, Given, Mark, Named
from cama.wire.tools import Tool, ToolChoice, check_choice, read_choice, read_tools

ThinkLevel = Literal["high", "medium", "low", "max"]

Think = bool | str | None
KeepAlive = Annotated[float | None, As(shapes.KeepAlive)]
ModelName = Annotated[str, Mark.NEEDED]
ModelOptions = Annotated[Mapping[str, Any], Given("Options", option_schema)]
_THINK_CHOICES = '"high", "medium", "low", "max", true, or false'


class Readable(Protocol):
    """A request type: the name Ollama gives it, and how it is read."""

    struct: ClassVar[str]

    @classmethod
    def read(cls, body: Fields) -> Self: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation. ``images`` are in base64."""

    role: str
    content: str
    thinking: str = ""
    images: tuple[str, ...] = ()
    tool_calls: Annotated[tuple[ToolCall, ...], As(list[shapes.ToolCall])] = ()
    tool_name: str = ""
    tool_call_id: str = ""

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(
            role=body.text("role").lower(),
            content=body.text("content"),
            thinking=body.text("thinking"),
            images=read_images(body.list("images")),
            tool_calls=tuple(map(_tool_call, body.objects("tool_calls"))),
            tool_name=body.text("tool_name"),
            tool_call_id=body.text("tool_call_id"),
        )


def _tool_call(body: Fields) -> ToolCall:
    function = body.fields("function")
    return ToolCall(
        name=function.text("name"),
        arguments=function.object("arguments"),
        id=body.text("id"),
        index=function.integer("index"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """What loads a model. ``keep_alive`` is in seconds, None when it was not given.

    ``priority`` and ``adapters`` are Cama's own; None means the model's own adapters.
    """

    model: ModelName
    keep_alive: KeepAlive
    options: ModelOptions
    priority: Priority = "interactive"
    adapters: Annotated[tuple[AdapterChoice, ...] | None, As(list[str | AdapterChoice])] = None


def model_fields(body: Fields) -> dict[str, Any]:
    """The fields of a :class:`ModelRequest`."""
    return {
        "model": body.text("model").strip(),
        "keep_alive": _keep_alive(body),
        "options": _options(body.fields("options")),
        "priority": _priority(body.text("priority")),
        "adapters": read_adapters(body.any("adapters")),
    }


def _options(fields: Fields) -> Mapping[str, Any]:
    for name in EFFECTIVE & fields.data.keys():  # in any other case they are unknown
        fields.any(name)
    return fields.data


def _priority(text: str) -> Priority:
    for priority in PRIORITIES:
        if text in ("", priority):
            return priority
    raise InvalidRequest(f'invalid priority: "{text}" (must be "interactive" or "batch")')


@dataclass(frozen=True, slots=True, kw_only=True)
class Common(ModelRequest):
    """What generate and chat share.

    ``format`` is the form of the answer, be it a schema or Cama's own ``grammar``; ``defaults`` are
    options that count where neither the model nor the request gives any;
    ``choices`` is how many answers are wanted to each prompt; ``logit_bias`` is by token id.
    """

    also: ClassVar[Any] = shapes.GrammarFields

    stream: bool
    format: Annotated[Constraint | None, As(Literal["json", ""] | dict[str, Any])]
    think: Annotated[Think, As(bool | ThinkLevel)]
    truncate: bool
    shift: bool
    logprobs: bool
    top_logprobs: int
    debug_render_only: Annotated[bool, Named("_debug_render_only")]
    defaults: Annotated[Mapping[str, Any], Mark.NOT_SENT] = field(default_factory=dict)
    choices: Annotated[int, Mark.NOT_SENT] = 1
    logit_bias: Annotated[Mapping[int, float], Mark.NOT_SENT] = field(default_factory=dict)


def _common(body: Fields) -> dict[str, Any]:
    return {
        **model_fields(body),
        "stream": body.flag("stream", default=True),
        "format": read_form(body.any("format"), body.any("grammar")),
        "think": _think(body.any("think")),
        "truncate": body.flag("truncate", default=True),
        "shift": body.flag("shift", default=True),
        "logprobs": body.flag("logprobs"),
        "top_logprobs": body.integer("top_logprobs"),
        "debug_render_only": body.flag("_debug_render_only"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest(Common):
    struct: ClassVar[str] = "GenerateRequest"

    prompt: str
    suffix: str
    system: str
    template: str
    context: tuple[int, ...]
    raw: bool
    images: tuple[str, ...]

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(
            **_common(body),
            prompt=body.text("prompt"),
            suffix=body.text("suffix"),
            system=body.text("system"),
            template=body.text("template"),
            context=body.integers("context"),
            raw=body.flag("raw"),
            images=read_images(body.list("images")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest(Common):
    """``tool_choice`` and ``parallel_tool_calls`` (at most one call when false) are Cama's own."""

    struct: ClassVar[str] = "ChatRequest"

    messages: tuple[Message, ...]
    tools: Annotated[tuple[Tool, ...], As(list[shapes.Tool])] = ()
    tool_choice: Annotated[ToolChoice, As(shapes.ToolChoice)] = ToolChoice()
    parallel_tool_calls: bool = True

    def __post_init__(self) -> None:
        check_choice(self.tool_choice, self.tools)

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(
            **_common(body),
            messages=tuple(Message.read(item) for item in body.objects("messages")),
            tools=read_tools(body.list("tools")),
            tool_choice=read_choice(body.any("tool_choice")),
            parallel_tool_calls=body.flag("parallel_tool_calls", default=True),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest(ModelRequest):
    """``input`` is empty when there is nothing to embed; it may hold empty texts, and token ids."""

    struct: ClassVar[str] = "EmbedRequest"

    input: Annotated[tuple[str | tuple[int, ...], ...], As(str | list[str])]
    truncate: bool
    dimensions: int

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(
            **model_fields(body),
            input=_input(body.any("input")),
            truncate=body.flag("truncate", default=True),
            dimensions=body.integer("dimensions"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsRequest(ModelRequest):
    struct: ClassVar[str] = "EmbeddingRequest"

    prompt: str

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(
            **model_fields(body),
            prompt=body.text("prompt"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest(ModelRequest):
    """Cama's own. ``top_n`` is how many results are wanted, all of them when it is not above 0."""

    struct: ClassVar[str] = "RerankRequest"

    query: Annotated[str, Mark.NEEDED]
    documents: tuple[str, ...]
    top_n: int

    @classmethod
    def read(cls, body: Fields) -> Self:
        documents = body.list("documents")
        if not all(isinstance(document, str) for document in documents):
            raise InvalidRequest("documents must be an array of strings")
        return cls(
            **model_fields(body),
            query=body.text("query"),
            documents=tuple(documents),
            top_n=body.integer("top_n"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest:
    struct: ClassVar[str] = "ShowRequest"

    model: str
    verbose: bool = False
    system: str = ""
    options: ModelOptions = field(default_factory=dict)

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(
            model=_model_or_name(body),
            verbose=body.flag("verbose"),
            system=body.text("system"),
            options=body.object("options"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRequest:
    struct: ClassVar[str] = "DeleteRequest"

    model: str

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(model=_model_or_name(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    struct: ClassVar[str] = "PullRequest"

    model: str
    insecure: bool = False
    stream: bool = True

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(
            model=_model_or_name(body),
            insecure=body.flag("insecure"),
            stream=body.flag("stream", default=True),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest(PullRequest):
    struct: ClassVar[str] = "PushRequest"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    struct: ClassVar[str] = "CopyRequest"

    source: ModelName
    destination: ModelName

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(source=body.text("source"), destination=body.text("destination"))


def _model_or_name(body: Fields) -> str:
    """``name`` is the old spelling of ``model``."""
    return (body.text("model") or body.text("name")).strip()


def _input(value: Any) -> tuple[str, ...]:
    match value:
        case None | "":
            return ()
        case str():
            return (value,)
        case list() if all(isinstance(item, str) for item in value):
            return tuple(value)
    raise InvalidRequest("invalid input type")


def _keep_alive(body: Fields) -> float | None:
    value = body.any("keep_alive")
    return None if value is None else parse_keep_alive(value)


def _think(value: Any) -> Think:
    match value:
        case None | bool():
            return value
        case str() if value in get_args(ThinkLevel):
            return value
        case str():
            raise InvalidRequest(f'invalid think value: "{value}" (must be {_THINK_CHOICES})')
    raise InvalidRequest(
        'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'
    )
