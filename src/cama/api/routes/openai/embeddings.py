"""POST /v1/embeddings and POST /v1/rerank."""

from starlette.requests import Request
from starlette.responses import Response

from cama.api.access import tell_ignored
from cama.api.body import read_object
from cama.api.names import CHAT
from cama.api.routes.embed import answer, embedded, embedding, ranking
from cama.core.embedding import Embedded, Ranked
from cama.wire.framing import Reply
from cama.wire.openai.embeddings import (
    EmbeddingsRequest,
    RankingRequest,
    embeddings_reply,
    ranking_reply,
)


async def embeddings(request: Request) -> Response:
    wanted = await read_object(request, EmbeddingsRequest.read)
    tell_ignored(request, wanted.ignored)
    asked = embedding(request, wanted.embed)

    def reply(made: Embedded, total: float, load: float) -> Reply:
        return embeddings_reply(wanted, made)

    return await answer(request, wanted.embed, CHAT, lambda runner: embedded(runner, asked), reply)


async def rerank(request: Request) -> Response:
    wanted = await read_object(request, RankingRequest.read)
    tell_ignored(request, wanted.ignored)
    asked = ranking(request, wanted.rerank)

    def reply(made: Ranked, total: float, load: float) -> Reply:
        return ranking_reply(wanted, made)

    return await answer(request, wanted.rerank, CHAT, lambda runner: runner.rank(asked), reply)
