"""The bodies of OpenAI's requests as clients write them: each field that has an effect."""

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

from cama.wire.schema import Range, Size
from cama.wire.shapes import Grammar, KeepAlive, NamedTool, Priority, Tool

MOST_CHOICES = 128
MOST_TOP_LOGPROBS = 20
MOST_TOKENS = 2**31 - 1
MOST_DIMENSIONS = 1 << 20

Tokens = Annotated[int, Range(1, MOST_TOKENS)]
TopLogprobs = Annotated[int, Range(0, MOST_TOP_LOGPROBS)]
Choices = Annotated[int, Range(1, MOST_CHOICES)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "ultra", "max"]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast"]
Ids = Annotated[list[Annotated[int, Range(0, MOST_TOKENS)]], Size(1)]
Prompts = str | Annotated[list[str], Size(1)] | Ids | Annotated[list[Ids], Size(1)]


class ModelBody(TypedDict, total=False):
    model: Required[Annotated[str, Size(1)]]
    keep_alive: KeepAlive
    options: dict[str, Any]
    priority: Priority


class TextBody(ModelBody, total=False):
    stream: bool
    service_tier: Tier
    temperature: Annotated[float, Range(0, 2)]
    top_p: Annotated[float, Range(0, 1)]
    frequency_penalty: Annotated[float, Range(-2, 2)]
    presence_penalty: Annotated[float, Range(-2, 2)]
    min_p: Annotated[float, Range(0, 1)]
    typical_p: Annotated[float, Range(0, 1)]
    repeat_penalty: Annotated[float, Range(0, 10)]
    top_k: Annotated[int, Range(-1, MOST_TOKENS)]
    seed: Annotated[int, Range(-(2**63), 2**63 - 1)]
    stop: str | list[str]
    logit_bias: dict[str, Annotated[float, Range(-100, 100)]]


class StructuredOutputs(TypedDict, total=False):
    """vLLM's: one of these."""

    json: str | dict[str, Any]
    json_object: bool
    regex: Annotated[str, Size(1)]
    choice: Annotated[list[Annotated[str, Size(1)]], Size(1)]
    grammar: Annotated[str, Size(1)]


class FormBody(TextBody, total=False):
    grammar: str | Grammar
    structured_outputs: StructuredOutputs


class StreamOptions(TypedDict, total=False):
    include_usage: bool


class TextPart(TypedDict):
    type: Literal["text"]
    text: str


class RefusalPart(TypedDict):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(TypedDict):
    url: str
    detail: NotRequired[str]


class ImagePart(TypedDict):
    type: Literal["image_url"]
    image_url: str | ImageUrl


class WrittenFunction(TypedDict):
    name: Annotated[str, Size(1)]
    arguments: NotRequired[str]


class FunctionCall(TypedDict):
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: WrittenFunction


class ChatMessage(TypedDict, total=False):
    role: Required[Literal["system", "developer", "user", "assistant", "tool"]]
    content: str | list[TextPart | RefusalPart | ImagePart] | None
    name: str
    tool_calls: list[FunctionCall]
    tool_call_id: str
    reasoning: str
    reasoning_content: str


class AllowedTools(TypedDict):
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


class AllowedToolsChoice(TypedDict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class NamedSchema(TypedDict):
    name: Annotated[str, Size(1)]
    schema: dict[str, Any]
    description: NotRequired[str]
    strict: NotRequired[bool | None]


class ResponseFormat(TypedDict):
    type: Literal["text", "json_object", "json_schema", "grammar"]
    grammar: NotRequired[str]
    definition: NotRequired[str]
    syntax: NotRequired[Literal["gbnf", "lark", "regex"]]
    json_schema: NotRequired[NamedSchema]
    schema: NotRequired[dict[str, Any]]


class Reasoning(TypedDict, total=False):
    effort: Effort


class ChatCompletionBody(FormBody, total=False):
    messages: Required[Annotated[list[ChatMessage], Size(1)]]
    tools: list[Tool]
    tool_choice: Literal["auto", "none", "required"] | NamedTool | AllowedToolsChoice
    parallel_tool_calls: bool
    response_format: ResponseFormat
    n: Choices
    logprobs: bool
    top_logprobs: TopLogprobs
    stream_options: StreamOptions
    max_tokens: Tokens
    max_completion_tokens: Tokens
    reasoning_effort: Effort
    reasoning: Reasoning
    think: bool | Effort


class CompletionBody(FormBody, total=False):
    response_format: ResponseFormat
    prompt: Required[Prompts]
    suffix: str
    echo: bool
    n: Choices
    best_of: Choices
    logprobs: TopLogprobs
    stream_options: StreamOptions
    max_tokens: Annotated[int, Range(0, MOST_TOKENS)]


class EmbeddingsBody(ModelBody, total=False):
    input: Required[Prompts]
    encoding_format: Literal["float", "base64"]
    dimensions: Annotated[int, Range(1, MOST_DIMENSIONS)]
    truncate: bool


class Document(TypedDict):
    text: str


class RerankBody(ModelBody, total=False):
    query: Required[Annotated[str, Size(1)]]
    documents: Required[Annotated[list[str | Document], Size(1)]]
    top_n: Annotated[int, Range(1, MOST_TOKENS)]
    return_documents: bool


class FlatTool(TypedDict):
    type: Literal["function"]
    name: Annotated[str, Size(1)]
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]
    strict: NotRequired[bool | None]


class Namespace(TypedDict):
    """Functions that are called by this name, a point, and their own."""

    type: Literal["namespace"]
    name: Annotated[str, Size(1)]
    description: NotRequired[str]
    tools: list[FlatTool]


class FlatNamedTool(TypedDict):
    type: Literal["function"]
    name: Annotated[str, Size(1)]


class FlatAllowedTools(AllowedTools):
    type: Literal["allowed_tools"]


class FlatFormat(TypedDict):
    type: Literal["text", "json_object", "json_schema", "grammar"]
    grammar: NotRequired[str]
    definition: NotRequired[str]
    syntax: NotRequired[Literal["gbnf", "lark", "regex"]]
    name: NotRequired[str]
    schema: NotRequired[dict[str, Any]]
    description: NotRequired[str]
    strict: NotRequired[bool | None]


class ResponseText(TypedDict, total=False):
    format: FlatFormat


class ResponseItem(TypedDict, total=False):
    """A message, a call of a function, what it gave, or thoughts."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"]
    id: str
    status: str
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]
    call_id: str
    name: str
    arguments: str
    output: str | list[dict[str, Any]]
    summary: list[dict[str, Any]]
    encrypted_content: str | None


class ResponseBody(FormBody, total=False):
    input: str | list[ResponseItem]
    instructions: str
    tools: list[FlatTool | Namespace]
    tool_choice: Literal["auto", "none", "required"] | FlatNamedTool | FlatAllowedTools
    parallel_tool_calls: bool
    text: ResponseText
    reasoning: Reasoning
    max_output_tokens: Tokens
    previous_response_id: str
    store: bool
    truncation: Literal["auto", "disabled"]
    top_logprobs: TopLogprobs
    include: list[str]
    metadata: dict[str, Any]
