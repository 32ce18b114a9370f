"""Embedding in the child: texts to tokens, through the loop, to vectors as they were asked for."""

import asyncio
import re
from array import array
from collections.abc import Sequence

import numpy as np

from cama.core.embedding import Embedded, Embedding, Ranked, Ranking
from cama.core.errors import CamaError, InvalidRequest, PromptTooLong, Unsupported
from cama.core.priority import Priority
from cama.engine.base import Embeds, Tokenizer, Vectors
from cama.runner.engine_thread import Ready

INLINE_CHARACTERS = 4096
"""Longer texts are tokenized on a thread of their own, so that streams keep flowing meanwhile."""

_SMALLEST_NORM = 1e-12


async def embed(ready: Ready, request_id: str, request: Embedding) -> Embedded:
    """Cancelling it cancels the work. Raises Unsupported, InvalidRequest and PromptTooLong."""
    engine = ready.engine
    if isinstance(engine, Embeds) and engine.pooling == "rank":
        raise Unsupported("this model ranks documents, it does not embed texts")
    if not request.texts:
        return Embedded(vectors=(), prompt_tokens=0)
    if sum(map(len, request.texts)) <= INLINE_CHARACTERS:
        texts, n_cut = encode(engine.tokenizer, request, engine.info.n_ctx)
    else:
        texts, n_cut = await asyncio.to_thread(encode, engine.tokenizer, request, engine.info.n_ctx)
    rows = finished(await compute(ready, request_id, texts, request.priority), request)
    return Embedded(
        vectors=[array("f", row.tobytes()) for row in rows],
        prompt_tokens=sum(map(len, texts)),
        truncated_tokens=n_cut,
    )


async def rank(ready: Ready, request_id: str, request: Ranking) -> Ranked:
    """Cancelling it cancels the work. Raises Unsupported, InvalidRequest and PromptTooLong."""
    engine = ready.engine
    if not (isinstance(engine, Embeds) and engine.pooling == "rank"):
        raise Unsupported("this model does not rank documents")
    if not request.documents:
        return Ranked(scores=(), prompt_tokens=0)
    template = ready.info.rank_template
    pairs = await asyncio.to_thread(encode_pairs, engine.tokenizer, request, template)
    rows = await compute(ready, request_id, pairs, request.priority)
    if not np.isfinite(rows).all():
        raise InvalidRequest("a score is NaN or Inf")
    return Ranked(scores=tuple(rows[:, 0].tolist()), prompt_tokens=sum(map(len, pairs)))


async def compute(
    ready: Ready, request_id: str, texts: Sequence[Sequence[int]], priority: Priority
) -> Vectors:
    """What the loop makes of tokens."""
    here = asyncio.get_running_loop()
    result: asyncio.Future[Vectors] = here.create_future()

    def settle(given: Vectors | CamaError) -> None:
        if result.done():
            return
        if isinstance(given, CamaError):
            result.set_exception(given)
        else:
            result.set_result(given)

    def sink(given: Vectors | CamaError) -> None:
        here.call_soon_threadsafe(settle, given)

    ready.loop.submit_embedding(request_id, texts, sink, priority)
    try:
        return await result
    except asyncio.CancelledError:
        ready.loop.cancel(request_id)
        raise


def encode(tokenizer: Tokenizer, request: Embedding, n_ctx: int) -> tuple[list[list[int]], int]:
    """The tokens of each text, cut to ``n_ctx``, and how many were cut.

    A cut text still ends with the token that the model wants behind a text.
    """
    head = tokenizer.encode("", add_special=True, parse_special=True)
    tail = head[1:] if head[:1] == [tokenizer.bos] else head
    texts, n_cut = [], 0
    for text in request.texts:
        tokens = _tokens(tokenizer, text)
        if len(tokens) > n_ctx:
            if not request.truncate:
                raise PromptTooLong(
                    "the input length exceeds the context length",
                    n_tokens=len(tokens),
                    n_ctx=n_ctx,
                )
            n_cut += len(tokens) - n_ctx
            tokens = tokens[: n_ctx - len(tail)] + tail
        texts.append(tokens)
    return texts, n_cut


def _tokens(tokenizer: Tokenizer, text: str | tuple[int, ...]) -> list[int]:
    """Ids are taken as they are."""
    if isinstance(text, tuple):
        return list(text)
    return tokenizer.encode(text, add_special=True, parse_special=True)


def encode_pairs(tokenizer: Tokenizer, request: Ranking, template: str) -> list[list[int]]:
    """The tokens of the query with each document."""
    query = request.query
    if not template:
        return [tokenizer.encode_pair(query, document) for document in request.documents]

    def written(document: str) -> str:
        texts = {"{query}": query, "{document}": document}
        return re.sub(r"\{(?:query|document)\}", lambda match: texts[match[0]], template)

    return [
        tokenizer.encode(written(document), add_special=False, parse_special=True)
        for document in request.documents
    ]


def finished(rows: Vectors, request: Embedding) -> Vectors:
    """Cut and normalised as the request wants it. Raises InvalidRequest for what is no number."""
    if not np.isfinite(rows).all():
        raise InvalidRequest("embedding contains NaN or Inf values")
    if request.dimensions > 0:
        rows = rows[:, : request.dimensions]
    if request.normalise:
        norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        rows = (rows / np.maximum(norms, _SMALLEST_NORM)).astype(np.float32)
    return rows
