"""POST /v1/responses, and what is kept of them."""

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from cama.api.access import tell_ignored
from cama.api.body import read_object
from cama.api.problems import JSON, ResponseNotFound
from cama.api.routes.chat import converse
from cama.api.services import Services, services
from cama.core.errors import InvalidRequest
from cama.wire.framing import Reply
from cama.wire.openai.response_items import Item
from cama.wire.openai.response_replies import ResponseDialect
from cama.wire.openai.responses import ResponseRequest


async def create(request: Request) -> Response:
    wanted = await read_object(request, ResponseRequest.read)
    tell_ignored(request, wanted.ignored)
    has = services(request)
    before = _before(has, wanted.previous) if wanted.previous else ()

    def keep(reply: Reply) -> None:
        if wanted.is_kept:
            has.responses.keep(has.caller.tenant, reply, (*before, *wanted.input))

    chat = await asyncio.to_thread(wanted.chat, before)
    return await converse(has, chat, ResponseDialect(wanted, keep))


def _before(has: Services, name: str) -> Sequence[Item]:
    kept = has.responses.get(has.caller.tenant, name)
    if kept is None:
        raise InvalidRequest(_missing(name), field="previous_response_id")
    return kept.items


async def get(request: Request) -> Response:
    has, name = services(request), request.path_params["id"]
    kept = has.responses.get(has.caller.tenant, name)
    if kept is None:
        raise ResponseNotFound(_missing(name))
    return JSON(kept.reply)


async def delete(request: Request) -> Response:
    has, name = services(request), request.path_params["id"]
    if not has.responses.delete(has.caller.tenant, name):
        raise ResponseNotFound(_missing(name))
    return JSON({"id": name, "object": "response", "deleted": True})


def _missing(name: str) -> str:
    return f"response '{name:.100}' not found: the latest ones are kept, in memory"
