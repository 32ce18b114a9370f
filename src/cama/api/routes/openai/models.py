"""GET /v1/models, and one of them."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from cama.api.names import CHAT, find
from cama.api.problems import JSON
from cama.api.services import services
from cama.core.errors import InvalidModelName
from cama.store.models import StoredModel
from cama.store.names import DEFAULT_NAMESPACE, ModelName
from cama.wire.framing import Reply
from cama.wire.openai.models import model_reply, models_reply


async def models(request: Request) -> Response:
    found = await asyncio.to_thread(services(request).store.list)
    return JSON(models_reply([_described(model, model.name) for model in found]))


async def model(request: Request) -> Response:
    name = request.path_params["model"]
    return JSON(_described(await find(services(request).store, name, CHAT), name))


def _described(model: StoredModel, name: str) -> Reply:
    try:
        owner = ModelName.parse(model.name).namespace
    except InvalidModelName:  # the path of a file
        owner = DEFAULT_NAMESPACE
    return model_reply(name, owner, model.modified_at)
