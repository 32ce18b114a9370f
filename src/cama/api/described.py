"""What the API's document says of each route of ``app.ROUTES``: one entry for one of these.

The types are those that a route reads and writes; their fields are described in ``wire/notes.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cama.wire import requests, shapes
from cama.wire.anthropic import shapes as anthropic
from cama.wire.creation import CreateRequest
from cama.wire.openai import fields
from cama.wire.openai import reply_shapes as openai
from cama.wire.openai.fields import Table
from cama.wire.plan import PlanRequest
from cama.wire.tokens import DetokenizeRequest, TokenizeRequest

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """``reply`` is a whole answer and ``piece`` one of a stream; ``parameters`` are the path's."""

    summary: str
    text: str = ""
    body: Any = None
    body_type: str = JSON
    reply: Any = None
    reply_type: str = JSON
    piece: Any = None
    stream_type: str = NDJSON
    status: int = 200
    parameters: Mapping[str, str] = field(default_factory=dict)


def _foreign(
    summary: str, table: Table, reply: Any, piece: Any = None, text: str = ""
) -> Described:
    """A route of OpenAI's; what it refuses stands in its table."""
    refused = ", ".join(f"`{name}`" for name in table.refused)
    return Described(
        summary=summary,
        text=" ".join(filter(None, (text, refused and f"Refused: {refused}."))),
        body=table.body,
        reply=reply,
        piece=piece and piece | openai.OpenAIFailure,
        stream_type=EVENTS,
    )


_STREAMED = "Streamed unless `stream` is false: a line of JSON for each piece."
_LOADED = "the model is loaded, or unloaded with a `keep_alive` of 0."
_NO_CLOUD = "Always refused, for there is no cloud here."
_DIGEST = {"digest": "`sha256:` and 64 hexadecimal digits."}
_RESPONSE = {"id": "The id of a response that is kept."}

ROUTES: Mapping[tuple[str, str], Described] = {
    ("GET", "/"): Described(
        summary="Whether a server is there", reply=str, reply_type="text/plain"
    ),
    ("GET", "/openapi.json"): Described(summary="This document", reply=dict[str, Any]),
    ("GET", "/docs"): Described(
        summary="This document for people", reply=str, reply_type="text/html"
    ),
    ("GET", "/api/version"): Described(
        summary="Versions of the API and of Cama", reply=shapes.Version
    ),
    ("GET", "/api/status"): Described(
        summary="Whether there is a cloud", text="There is none.", reply=shapes.Status
    ),
    ("POST", "/api/generate"): Described(
        summary="Continue a prompt",
        text=f"{_STREAMED} Without a prompt {_LOADED}",
        body=requests.GenerateRequest,
        reply=shapes.GenerateReply,
        piece=shapes.GenerateReply | shapes.Failure,
    ),
    ("POST", "/api/chat"): Described(
        summary="Answer a conversation",
        text=f"{_STREAMED} Without messages {_LOADED}",
        body=requests.ChatRequest,
        reply=shapes.ChatReply,
        piece=shapes.ChatReply | shapes.Failure,
    ),
    ("POST", "/api/embed"): Described(
        summary="Texts as vectors of length 1",
        body=requests.EmbedRequest,
        reply=shapes.EmbedReply,
    ),
    ("POST", "/api/embeddings"): Described(
        summary="A text as a vector",
        text="The older form of `/api/embed`; the vector is as the model gives it.",
        body=requests.EmbeddingsRequest,
        reply=shapes.EmbeddingsReply,
    ),
    ("POST", "/api/rerank"): Described(
        summary="Documents in the order in which they answer a query",
        text="Cama's own. Scores are on the model's scale.",
        body=requests.RerankRequest,
        reply=shapes.RerankReply,
    ),
    ("GET", "/api/tags"): Described(summary="The models of the store", reply=shapes.TagsReply),
    ("GET", "/api/ps"): Described(summary="The models that are loaded", reply=shapes.PsReply),
    ("POST", "/api/show"): Described(
        summary="All that is known of a model", body=requests.ShowRequest, reply=shapes.ShowReply
    ),
    ("POST", "/api/copy"): Described(
        summary="Give a model another name", body=requests.CopyRequest
    ),
    ("DELETE", "/api/delete"): Described(summary="Delete a model", body=requests.DeleteRequest),
    ("POST", "/v1/chat/completions"): _foreign(
        "Answer a conversation", fields.CHAT, openai.ChatCompletion, openai.ChatChunk
    ),
    ("POST", "/v1/completions"): _foreign(
        "Continue prompts",
        fields.COMPLETION,
        openai.Completion,
        openai.Completion,
        text="A prompt is continued as it is, without the chat template.",
    ),
    ("POST", "/v1/embeddings"): _foreign(
        "Texts as vectors of length 1", fields.EMBEDDING, openai.EmbeddingList
    ),
    ("POST", "/v1/rerank"): _foreign(
        "Documents in the order in which they answer a query",
        fields.RERANK,
        openai.Ranking,
        text="The form of Jina and Cohere. Scores are on the model's scale.",
    ),
    ("POST", "/v1/responses"): _foreign(
        "Answer a conversation of items",
        fields.RESPONSE,
        openai.Response,
        openai.ResponseEvent,
        text="The latest responses are kept in memory, and a later one may go on from them.",
    ),
    ("GET", "/v1/responses/{id}"): Described(
        summary="A response that is kept", reply=openai.Response, parameters=_RESPONSE
    ),
    ("DELETE", "/v1/responses/{id}"): Described(
        summary="Forget a response", reply=openai.DeletedResponse, parameters=_RESPONSE
    ),
    ("GET", "/v1/models"): Described(summary="The models of the store", reply=openai.ModelList),
    ("GET", "/v1/models/{model:path}"): Described(
        summary="One model", reply=openai.Model, parameters={"model": "Its name."}
    ),
    ("POST", "/v1/audio/transcriptions"): Described(
        summary="What is said in a recording", text="Always refused, for no model here hears."
    ),
    ("POST", "/v1/messages"): Described(
        summary="Answer a conversation",
        body=anthropic.MessagesBody,
        reply=anthropic.AnswerTurn,
        piece=anthropic.MessageEvent,
        stream_type=EVENTS,
    ),
    ("POST", "/v1/messages/count_tokens"): Described(
        summary="How many tokens a conversation has",
        text="The model is loaded for it.",
        body=anthropic.CountBody,
        reply=anthropic.TokenCount,
    ),
    ("POST", "/api/me"): Described(summary="Who is signed in", text="Always 401: nobody is."),
    ("POST", "/api/signout"): Described(summary="Sign out", text="Always 401: nobody is in."),
    ("DELETE", "/api/user/keys/{key}"): Described(
        summary="Sign out, as it was", text="Always 401.", parameters={"key": "A public key."}
    ),
    ("POST", "/api/experimental/web_search"): Described(summary="Search the web", text=_NO_CLOUD),
    ("POST", "/api/experimental/web_fetch"): Described(summary="Read a page", text=_NO_CLOUD),
    ("GET", "/api/experimental/model-recommendations"): Described(
        summary="Models to pull", text="None is recommended.", reply=shapes.Recommendations
    ),
    ("POST", "/api/create"): Described(
        summary="Make a model",
        text=_STREAMED,
        body=CreateRequest,
        reply=shapes.Progress,
        piece=shapes.Progress | shapes.Failure,
    ),
    ("POST", "/api/pull"): Described(
        summary="Get a model from a registry",
        text=_STREAMED,
        body=requests.PullRequest,
        reply=shapes.Progress,
        piece=shapes.Progress | shapes.Failure,
    ),
    ("POST", "/api/push"): Described(
        summary="Bring a model to a registry",
        text=_STREAMED,
        body=requests.PushRequest,
        reply=shapes.Progress,
        piece=shapes.Progress | shapes.Failure,
    ),
    ("POST", "/api/blobs/{digest}"): Described(
        summary="Bring a file, to make a model of",
        text="200 when it is there already, and is not read.",
        body=bytes,
        body_type="application/octet-stream",
        status=201,
        parameters=_DIGEST,
    ),
    ("HEAD", "/api/blobs/{digest}"): Described(
        summary="Whether a file is there", parameters=_DIGEST
    ),
    ("POST", "/api/plan"): Described(
        summary="What memory a model takes, and whether it fits",
        text="Cama's own. Nothing is loaded.",
        body=PlanRequest,
        reply=shapes.PlanReply,
    ),
    ("POST", "/api/tokenize"): Described(
        summary="The tokens of a text",
        text="Cama's own. The model is loaded for it.",
        body=TokenizeRequest,
        reply=shapes.TokensReply,
    ),
    ("POST", "/api/detokenize"): Described(
        summary="The text of tokens",
        text="Cama's own. The model is loaded for it.",
        body=DetokenizeRequest,
        reply=shapes.TextReply,
    ),
}
