"""What Ollama's API looks like on the wire where a type of ours does not say it: its replies, and
parts of requests that are read into another form."""

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

from cama.wire.schema import Pattern, Size

KeepAlive = (
    float
    | Annotated[str, Pattern(r"^[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$")]
)
Priority = Literal["interactive", "batch"]


class Grammar(TypedDict):
    syntax: Literal["gbnf", "lark", "regex"]
    definition: Annotated[str, Size(1)]


class GrammarFields(TypedDict, total=False):
    grammar: str | Grammar


class CalledFunction(TypedDict):
    name: str
    arguments: dict[str, Any]
    index: NotRequired[int]


class ToolCall(TypedDict):
    id: NotRequired[str]
    function: CalledFunction


class Function(TypedDict):
    name: Annotated[str, Size(1)]
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]


class Tool(TypedDict):
    type: NotRequired[Literal["function"]]
    function: Function


class FunctionName(TypedDict):
    name: Annotated[str, Size(1)]


class NamedTool(TypedDict):
    type: NotRequired[str]
    function: FunctionName


ToolChoice = Literal["auto", "none", "required"] | NamedTool


class Failure(TypedDict):
    """What is wrong, in one line."""

    error: str


class Version(TypedDict):
    """The version of Ollama whose API this is, and Cama's own."""

    version: str
    cama: str


class Cloud(TypedDict):
    disabled: bool
    source: Literal["none", "env", "config", "both"]


class Status(TypedDict):
    cloud: Cloud


class TokenLogprob(TypedDict):
    token: str
    logprob: float
    bytes: list[int]


class Logprob(TokenLogprob, total=False):
    top_logprobs: list[TokenLogprob]


class AnswerFacts(TypedDict, total=False):
    """Cama's own: why a prompt was not all cached, where the time went, what was guessed."""

    restored_count: int
    miss_reason: str
    diverged_at: int
    queue_duration: int
    prefill_duration: int
    decode_duration: int
    sampling_duration: int
    proposed_count: int
    accepted_count: int


class Counts(TypedDict, total=False):
    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int
    prompt_cached_count: int
    truncated_messages: int
    truncated_tokens: int
    shifted_tokens: int


class Accounts(Counts, total=False):
    cama: AnswerFacts


class AllAccounts(Counts, AnswerFacts):
    """What an answer took and what became of its prompt; durations are in nanoseconds."""


class RenderedPrompt(TypedDict):
    rendered_template: str
    image_count: NotRequired[int]


class Answer(Accounts):
    model: str
    created_at: str
    done: bool
    done_reason: NotRequired[Literal["stop", "length", "load", "unload"]]
    logprobs: NotRequired[list[Logprob]]
    _debug_info: NotRequired[RenderedPrompt]


class GenerateReply(Answer):
    """A piece of an answer; the last one is ``done`` and has the accounts."""

    response: str
    thinking: NotRequired[str]
    context: NotRequired[list[int]]
    tool_calls: NotRequired[list[ToolCall]]


class AnswerMessage(TypedDict):
    role: Literal["assistant"]
    content: str
    thinking: NotRequired[str]
    tool_calls: NotRequired[list[ToolCall]]


class ChatReply(Answer):
    """A piece of an answer; the last one is ``done`` and has the accounts."""

    message: AnswerMessage


class EmbedReply(TypedDict, total=False):
    model: Required[str]
    embeddings: Required[list[list[float]]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int
    truncated_tokens: int


class EmbeddingsReply(TypedDict):
    embedding: list[float]


class Rank(TypedDict):
    index: int
    relevance_score: float


class RerankReply(TypedDict):
    model: str
    results: list[Rank]
    total_duration: NotRequired[int]
    load_duration: NotRequired[int]
    prompt_eval_count: NotRequired[int]


class Details(TypedDict, total=False):
    parent_model: str
    format: str
    family: str
    families: list[str] | None
    parameter_size: str
    quantization_level: str
    context_length: int
    embedding_length: int


class Tag(TypedDict):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details
    capabilities: NotRequired[list[str]]


class TagsReply(TypedDict):
    models: list[Tag]


class Running(TypedDict):
    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int
    engine: NotRequired[str]
    engine_reason: NotRequired[str]


class PsReply(TypedDict):
    models: list[Running]


class Tensor(TypedDict):
    name: str
    type: str
    shape: list[int]


class StoredMessage(TypedDict):
    role: str
    content: str


class AdapterFacts(TypedDict):
    digest: str
    size: int
    architecture: str
    type: str
    rank: int
    alpha: float | None
    parameter_count: int


class Origin(TypedDict, total=False):
    """Where a model of the Hugging Face hub is from, and why that file was taken."""

    repository: str
    commit: str
    files: list[str]
    projector: str
    reason: str


class ShowReply(TypedDict, total=False):
    license: str
    modelfile: str
    parameters: str
    template: str
    system: str
    details: Details
    messages: list[StoredMessage]
    adapters: list[AdapterFacts]
    model_info: dict[str, Any]
    projector_info: dict[str, Any]
    tensors: list[Tensor]
    capabilities: list[str]
    modified_at: str
    requires: str
    cama: Origin


class Recommendations(TypedDict):
    recommendations: list[dict[str, Any]]


class TokensReply(TypedDict):
    model: str
    tokens: list[int]
    count: int
    pieces: NotRequired[list[str | list[int]]]


class TextReply(TypedDict):
    model: str
    text: str


class OtherTexts(TypedDict, total=False):
    content: str
    prompt: str


class CreateNames(TypedDict, total=False):
    quantization: str


class FreeDevice(TypedDict):
    name: NotRequired[str]
    free: int | str


class PlanItem(TypedDict):
    of: str
    kind: str
    layers: int
    bytes: int


class PlanDevice(TypedDict):
    name: str
    layers: int
    output: bool
    required: int
    available: int


class PlanReply(TypedDict):
    model: str
    parallel: int
    cache_type: str
    fits: bool
    reason: str
    required: int
    available: int
    total: int
    context_length: int
    max_context_length: int
    cells: int
    items: list[PlanItem]
    devices: list[PlanDevice]


class Progress(TypedDict):
    """What is being done, and how much of it is."""

    status: str
    digest: NotRequired[str]
    total: NotRequired[int]
    completed: NotRequired[int]
