"""POST /api/tokenize and /api/detokenize: texts as their model reads them."""

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.names import CHAT
from cama.api.prompts import check_ids
from cama.api.routes.embed import answer
from cama.runner.handle import Runner
from cama.wire.framing import Reply
from cama.wire.tokens import DetokenizeRequest, TokenizeRequest, tokens_reply


async def tokenize(request: Request) -> Response:
    """The model is loaded, for it alone knows what a token is."""
    body = await read(request, TokenizeRequest)

    async def work(runner: Runner) -> Reply:
        tokens = await runner.tokenize(
            body.text, add_special=body.add_special, parse_special=body.parse_special
        )
        pieces = await runner.pieces(tokens) if body.with_pieces else None
        return tokens_reply(body.model, tokens, pieces)

    return await answer(request, body, CHAT, work, _as_made)


async def detokenize(request: Request) -> Response:
    body = await read(request, DetokenizeRequest)

    async def work(runner: Runner) -> Reply:
        check_ids(runner, body.tokens, "tokens")
        return {"model": body.model, "text": await runner.detokenize(body.tokens)}

    return await answer(request, body, CHAT, work, _as_made)


def _as_made(reply: Reply, total_seconds: float, load_seconds: float) -> Reply:
    return reply
