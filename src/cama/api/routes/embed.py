"""POST /api/embed, the older /api/embeddings, and /api/rerank: what becomes of whole texts."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from cama.api.adapters import refuse_adapters
from cama.api.body import read
from cama.api.names import EMBED, EMBEDDINGS, Wording, find
from cama.api.services import services
from cama.api.specs import model_spec
from cama.api.streaming import Answer
from cama.core.embedding import Embedded, Embedding, Ranked, Ranking
from cama.core.errors import InvalidRequest
from cama.runner.handle import Runner
from cama.wire.framing import Reply
from cama.wire.options import Options
from cama.wire.replies import embed_reply, embeddings_reply, rerank_reply
from cama.wire.requests import EmbeddingsRequest, EmbedRequest, ModelRequest, RerankRequest

_T = TypeVar("_T")


async def embed(request: Request) -> Response:
    body = await read(request, EmbedRequest)
    wanted = embedding(request, body)

    def reply(made: Embedded, total: float, load: float) -> Reply:
        return embed_reply(body.model, made, total, load)

    return await answer(request, body, EMBED, lambda runner: embedded(runner, wanted), reply)


def embedding(request: Request, body: EmbedRequest) -> Embedding:
    """What a runner is asked."""
    return Embedding(
        texts=body.input,
        truncate=body.truncate,
        dimensions=body.dimensions,
        priority=services(request).priority(body.priority),
    )


async def embeddings(request: Request) -> Response:
    body = await read(request, EmbeddingsRequest)
    texts = (body.prompt,) if body.prompt else ()
    wanted = Embedding(
        texts=texts, normalise=False, priority=services(request).priority(body.priority)
    )

    def reply(made: Embedded, total: float, load: float) -> Reply:
        return embeddings_reply(made)

    return await answer(request, body, EMBEDDINGS, lambda runner: embedded(runner, wanted), reply)


async def rerank(request: Request) -> Response:
    body = await read(request, RerankRequest)
    if not body.query:
        raise InvalidRequest("query is required")
    wanted = ranking(request, body)

    def reply(made: Ranked, total: float, load: float) -> Reply:
        return rerank_reply(body.model, made, body.top_n, total, load)

    return await answer(request, body, EMBEDDINGS, lambda runner: runner.rank(wanted), reply)


def ranking(request: Request, body: RerankRequest) -> Ranking:
    """What a runner is asked."""
    priority = services(request).priority(body.priority)
    return Ranking(query=body.query, documents=body.documents, priority=priority)


async def embedded(runner: Runner, wanted: Embedding) -> Embedded:
    """Without texts the model is only loaded."""
    return await runner.embed(wanted) if wanted.texts else Embedded(vectors=(), prompt_tokens=0)


async def answer(
    request: Request,
    body: ModelRequest,
    wording: Wording,
    work: Callable[[Runner], Awaitable[_T]],
    reply: Callable[[_T, float, float], Reply],
) -> Answer:
    """Do ``work`` with a runner; ``reply`` also gets the seconds in all and those of the load."""
    has, arrived = services(request), time.perf_counter()
    model = await find(has.store, body.model, wording)
    refuse_adapters(body, model)

    async def replies() -> AsyncGenerator[Reply, None]:
        options = Options.merge(model.params, body.options)
        spec = await model_spec(has, model, options)
        async with has.scheduler.lease(
            spec, body.keep_alive, has.priority(body.priority)
        ) as runner:
            load_seconds = time.perf_counter() - arrived
            made = await work(runner)
        total_seconds = time.perf_counter() - arrived
        # In a thread, for there may be a million numbers to write.
        yield await asyncio.to_thread(reply, made, total_seconds, load_seconds)

    return Answer(replies(), stream=False, stopping=has.stopping)
