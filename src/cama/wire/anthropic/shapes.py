"""The bodies of Anthropic's requests as clients write them, and what its answers look like."""

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

from cama.wire.openai.shapes import ModelBody
from cama.wire.schema import Range, Size
from cama.wire.shapes import AllAccounts, GrammarFields

MOST_TOKENS = 2**31 - 1
LEAST_BUDGET = 1024

Tokens = Annotated[int, Range(1, MOST_TOKENS)]


class CacheControl(TypedDict, total=False):
    type: str
    ttl: str


class Block(TypedDict, total=False):
    cache_control: CacheControl | None


class TextBlock(Block):
    type: Literal["text"]
    text: str


class ImageSource(TypedDict):
    type: Literal["base64"]
    data: Annotated[str, Size(1)]
    media_type: NotRequired[str]


class ImageBlock(Block):
    type: Literal["image"]
    source: ImageSource


class ThinkingBlock(TypedDict):
    type: Literal["thinking"]
    thinking: str
    signature: NotRequired[str]


class RedactedBlock(TypedDict):
    type: Literal["redacted_thinking"]


class ToolUseBlock(Block):
    type: Literal["tool_use"]
    id: Annotated[str, Size(1)]
    name: Annotated[str, Size(1)]
    input: dict[str, Any]
    caller: NotRequired[dict[str, Any]]


class ToolResultBlock(Block):
    type: Literal["tool_result"]
    tool_use_id: Annotated[str, Size(1)]
    content: NotRequired[str | list[TextBlock | ImageBlock]]
    is_error: NotRequired[bool]


Content = TextBlock | ImageBlock | ThinkingBlock | RedactedBlock | ToolUseBlock | ToolResultBlock


class Turn(TypedDict):
    role: Literal["user", "assistant"]
    content: str | list[Content]


class ToolDefinition(Block):
    name: Annotated[str, Size(1)]
    input_schema: dict[str, Any]
    description: NotRequired[str]
    type: NotRequired[Literal["custom"]]
    strict: NotRequired[bool]


class ToolChoice(TypedDict):
    type: Literal["auto", "any", "none", "tool"]
    name: NotRequired[str]
    disable_parallel_tool_use: NotRequired[bool]


class Thinking(TypedDict):
    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: NotRequired[Annotated[int, Range(LEAST_BUDGET, MOST_TOKENS)]]
    display: NotRequired[Literal["summarized", "omitted"]]


class OutputFormat(TypedDict):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(TypedDict, total=False):
    effort: Literal["low", "medium", "high", "xhigh", "max"]
    format: OutputFormat


class CountBody(ModelBody, GrammarFields, total=False):
    messages: Required[Annotated[list[Turn], Size(1)]]
    system: str | list[TextBlock]
    tools: list[ToolDefinition]
    tool_choice: ToolChoice
    thinking: Thinking
    output_config: OutputConfig
    cache_control: CacheControl | None


class Metadata(TypedDict, total=False):
    user_id: str | None


class MessagesBody(CountBody, total=False):
    max_tokens: Required[Tokens]
    stop_sequences: list[Annotated[str, Size(1)]]
    stream: bool
    temperature: Annotated[float, Range(0, 2)]
    top_p: Annotated[float, Range(0, 1)]
    top_k: Annotated[int, Range(0, MOST_TOKENS)]
    metadata: Metadata
    service_tier: Literal["auto", "standard_only"]


class AnthropicError(TypedDict):
    type: str
    message: str


class AnthropicFailure(TypedDict):
    """What is wrong."""

    type: Literal["error"]
    error: AnthropicError
    request_id: NotRequired[str]


class MessageUsage(TypedDict):
    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class AnswerBlock(TypedDict, total=False):
    """A text, thoughts, or a call of a tool."""

    type: Required[Literal["text", "thinking", "tool_use"]]
    text: str
    thinking: str
    signature: str
    id: str
    name: str
    input: dict[str, Any]


StopReason = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"
]


class AnswerTurn(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[AnswerBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage
    cama: NotRequired[AllAccounts]


class Delta(TypedDict, total=False):
    type: Literal["text_delta", "thinking_delta", "input_json_delta"]
    text: str
    thinking: str
    partial_json: str
    stop_reason: StopReason
    stop_sequence: str | None


class MessageEvent(TypedDict, total=False):
    """An event; which other fields it has follows from its type."""

    type: Required[
        Literal[
            "message_start", "ping", "content_block_start", "content_block_delta",
            "content_block_stop", "message_delta", "message_stop", "error",
        ]
    ]  # fmt: skip
    message: AnswerTurn
    index: int
    content_block: AnswerBlock
    delta: Delta
    usage: MessageUsage
    cama: AllAccounts
    error: AnthropicError
    request_id: str


class TokenCount(TypedDict):
    input_tokens: int
