"""What the answers of OpenAI's API look like."""

from typing import Any, Literal, NotRequired, Required, TypedDict

from cama.wire.openai.shapes import FunctionCall
from cama.wire.shapes import AllAccounts


class OpenAIError(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIFailure(TypedDict):
    """What is wrong, and in which field of the request."""

    error: OpenAIError


class PromptDetails(TypedDict):
    cached_tokens: int


class TextUsage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class InputUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int


class ChatToken(TypedDict):
    token: str
    logprob: float
    bytes: list[int]


class ChatLogprob(ChatToken):
    top_logprobs: list[ChatToken]


class ChatLogprobs(TypedDict):
    content: list[ChatLogprob]
    refusal: None


class ChatCall(FunctionCall):
    index: NotRequired[int]


class ChatAnswer(TypedDict):
    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning: NotRequired[str]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[FunctionCall]]


class ChatChoice(TypedDict):
    index: int
    message: ChatAnswer
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]
    cama: AllAccounts


class _Head(TypedDict):
    id: str
    created: int
    model: str
    system_fingerprint: str


class ChatCompletion(_Head):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: TextUsage


class ChatDelta(TypedDict, total=False):
    role: Literal["assistant"]
    content: str
    reasoning: str
    reasoning_content: str
    tool_calls: list[ChatCall]


class ChunkChoice(TypedDict):
    index: int
    delta: ChatDelta
    logprobs: NotRequired[ChatLogprobs]
    finish_reason: Literal["stop", "length", "tool_calls"] | None
    cama: NotRequired[AllAccounts]


class ChatChunk(_Head):
    """An event; the last one is not JSON but ``[DONE]``."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChunkChoice]
    usage: NotRequired[TextUsage | None]


class CompletionLogprobs(TypedDict):
    """Parallel lists, an item for each token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    text: str
    index: int
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length"] | None
    cama: NotRequired[AllAccounts]


class Completion(_Head):
    """The answer, or an event of it; the last event is not JSON but ``[DONE]``."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: NotRequired[TextUsage | None]


class EmbeddingItem(TypedDict):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(TypedDict):
    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: InputUsage


class RankedText(TypedDict):
    text: str


class RankedDocument(TypedDict):
    index: int
    relevance_score: float
    document: NotRequired[RankedText]


class Ranking(TypedDict):
    id: str
    object: Literal["list"]
    model: str
    results: list[RankedDocument]
    usage: InputUsage


class Model(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[Model]


class CachedTokens(TypedDict):
    cached_tokens: int
    cache_write_tokens: int


class ReasoningTokens(TypedDict):
    reasoning_tokens: int


class ResponseUsage(TypedDict):
    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Incomplete(TypedDict):
    reason: str


class ResponseError(TypedDict):
    code: str
    message: str


class OutputPart(TypedDict):
    type: Literal["output_text", "summary_text"]
    text: str
    annotations: NotRequired[list[Any]]
    logprobs: NotRequired[list[ChatLogprob]]


class OutputItem(TypedDict, total=False):
    """A message, thoughts, or a call of a function."""

    id: Required[str]
    type: Required[Literal["message", "reasoning", "function_call"]]
    status: Required[str]
    role: Literal["assistant"]
    content: list[OutputPart]
    summary: list[OutputPart]
    encrypted_content: str
    call_id: str
    name: str
    arguments: str


class Response(TypedDict):
    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: bool
    error: ResponseError | None
    incomplete_details: Incomplete | None
    model: str
    output: list[OutputItem]
    store: bool
    usage: ResponseUsage | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, Any]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: dict[str, Any]
    service_tier: str
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float | None
    truncation: str
    cama: NotRequired[AllAccounts]


class ResponseEvent(TypedDict, total=False):
    """An event; which other fields it has follows from its type."""

    type: Required[str]
    sequence_number: Required[int]
    response: Response
    item: OutputItem
    item_id: str
    output_index: int
    content_index: int
    summary_index: int
    part: OutputPart
    delta: str
    text: str
    logprobs: list[ChatLogprob]
    name: str
    arguments: str


class DeletedResponse(TypedDict):
    id: str
    object: Literal["response"]
    deleted: bool
