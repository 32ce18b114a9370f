"""POST /api/embed and the older /api/embeddings: texts as vectors."""

import asyncio
import time
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.jobs import model_spec, refuse_adapters
from cama.api.names import EMBED, EMBEDDINGS, Wording, find
from cama.api.services import services
from cama.api.streaming import Answer
from cama.core.embedding import Embedded, Embedding
from cama.wire.options import Options
from cama.wire.replies import Reply, embed_reply, embeddings_reply
from cama.wire.requests import EmbeddingsRequest, EmbedRequest


async def embed(request: Request) -> Response:
    body = await read(request, EmbedRequest)
    wanted = Embedding(texts=body.input, truncate=body.truncate, dimensions=body.dimensions)
    return await _answer(request, body, wanted, EMBED)


async def embeddings(request: Request) -> Response:
    body = await read(request, EmbeddingsRequest)
    wanted = Embedding(texts=(body.prompt,) if body.prompt else (), normalise=False)
    return await _answer(request, body, wanted, EMBEDDINGS)


async def _answer(
    request: Request, body: EmbedRequest | EmbeddingsRequest, wanted: Embedding, wording: Wording
) -> Response:
    has, arrived = services(request), time.perf_counter()
    model = await find(has.store, body.model, wording)
    refuse_adapters(model)

    async def replies() -> AsyncGenerator[Reply, None]:
        options = Options.merge(model.params, body.options)
        spec = model_spec(model, options, has.settings)
        async with has.scheduler.lease(spec, body.keep_alive) as runner:
            load_seconds = time.perf_counter() - arrived
            made = Embedded(vectors=(), prompt_tokens=0)
            if wanted.texts:  # without any, the model is only loaded
                made = await runner.embed(wanted)
        # In a thread, for there may be a million numbers to write.
        if isinstance(body, EmbeddingsRequest):
            yield await asyncio.to_thread(embeddings_reply, made)
        else:
            total = time.perf_counter() - arrived
            yield await asyncio.to_thread(embed_reply, body.model, made, total, load_seconds)

    return Answer(replies(), whole=lambda made: made[0], stream=False, stopping=has.stopping)
