"""POST /v1/embeddings and POST /v1/rerank: their requests as ours, our results as their replies."""

from array import array
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cama.core.embedding import Embedded, Ranked
from cama.wire.framing import Reply
from cama.wire.openai.fields import EMBEDDING, RERANK
from cama.wire.openai.head import new_id
from cama.wire.openai.params import Params
from cama.wire.openai.prompts import read_prompts
from cama.wire.openai.sampling import model_fields
from cama.wire.openai.shapes import MOST_DIMENSIONS, MOST_TOKENS
from cama.wire.replies import numbers
from cama.wire.requests import EmbedRequest, RerankRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsRequest:
    """``is_packed`` wants vectors in base64. A text that does not fit is an error by default."""

    embed: EmbedRequest
    is_packed: bool
    ignored: tuple[str, ...]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Raises InvalidRequest, with the field that is wrong."""
        params = Params(data)
        EMBEDDING.check(params)
        form = params.choice("encoding_format", ("float", "base64"), default="float", folds=True)
        embed = EmbedRequest(
            **model_fields(params),
            input=read_prompts(params, "input"),
            truncate=params.flag("truncate"),
            dimensions=params.integer("dimensions", 1, MOST_DIMENSIONS) or 0,
        )
        return cls(embed=embed, is_packed=form == "base64", ignored=tuple(params.unread()))


def embeddings_reply(request: EmbeddingsRequest, embedded: Embedded) -> Reply:
    written = _packed if request.is_packed else numbers
    data = [
        {"object": "embedding", "index": i, "embedding": written(vector)}
        for i, vector in enumerate(embedded.vectors)
    ]
    n_tokens = embedded.prompt_tokens
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"object": "list", "data": data, "model": request.embed.model, "usage": usage}


def _packed(vector: "array[float]") -> str:
    """Little-endian float32, as every machine that Cama runs on has it."""
    return b64encode(vector).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingRequest:
    """Jina's and Cohere's: a document may be an object that has a ``text``."""

    rerank: RerankRequest
    has_documents: bool
    ignored: tuple[str, ...]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Raises InvalidRequest, with the field that is wrong."""
        params = Params(data)
        RERANK.check(params)
        rerank = RerankRequest(
            **model_fields(params),
            query=params.needed_text("query"),
            documents=_documents(params),
            top_n=params.integer("top_n", 1, MOST_TOKENS) or 0,
        )
        wants = params.flag("return_documents")
        return cls(rerank=rerank, has_documents=wants, ignored=tuple(params.unread()))


def _documents(params: Params) -> tuple[str, ...]:
    values = params.list("documents")
    if not values:
        params.refuse("documents", "must have at least one document")
    return tuple(_document(params, i, value) for i, value in enumerate(values))


def _document(params: Params, i: int, value: Any) -> str:
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        params.refuse(f"documents[{i}]", "must be a string, or an object with a string 'text'")
    return text


def ranking_reply(request: RankingRequest, ranked: Ranked) -> Reply:
    """The best documents first; scores are on the model's own scale."""
    rerank = request.rerank
    best = sorted(enumerate(ranked.scores), key=lambda one: one[1], reverse=True)
    results = [
        _result(index, score, rerank.documents if request.has_documents else ())
        for index, score in best[: rerank.top_n or None]
    ]
    n_tokens = ranked.prompt_tokens
    return {
        "id": new_id("rerank-"),
        "object": "list",
        "model": rerank.model,
        "results": results,
        "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
    }


def _result(index: int, score: float, documents: Sequence[str]) -> Reply:
    shown = {"document": {"text": documents[index]}} if documents else {}
    return {"index": index, "relevance_score": score, **shown}
