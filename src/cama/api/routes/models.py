"""The models of the store, and those that are loaded."""

import asyncio
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.describe import running, shown, tag
from cama.api.names import COPY, DELETE, SHOW, find, in_store, local_name
from cama.api.problems import JSON
from cama.api.services import Loaded, Services, services
from cama.core.errors import CamaError, InvalidModelName
from cama.store.facts import read_facts
from cama.store.models import StoredModel
from cama.store.names import ModelName
from cama.wire.encode import encode
from cama.wire.requests import CopyRequest, DeleteRequest, ShowRequest

_COPILOT = "GitHubCopilotChat/"
"""It calls a model by its basename, and would not find it again by that of the file."""


async def tags(request: Request) -> Response:
    has = services(request)
    go_first = has.settings.go_template
    models = await asyncio.to_thread(lambda: [tag(model, go_first) for model in has.store.list()])
    return JSON({"models": models})


async def ps(request: Request) -> Response:
    has = services(request)
    loaded = sorted(has.scheduler.loaded(), key=lambda one: one.expires_in, reverse=True)
    now = datetime.now().astimezone()
    models = [running(one, await _model_of(has, one), now) for one in loaded]
    return JSON({"models": models})


async def _model_of(has: Services, loaded: Loaded) -> StoredModel | None:
    try:
        return await asyncio.to_thread(has.store.get, loaded.spec.name)
    except CamaError:  # deleted or damaged since: what is loaded runs on
        return None


async def show(request: Request) -> Response:
    body = await read(request, ShowRequest)
    has = services(request)
    model = await find(has.store, body.model, SHOW)
    is_copilot = request.headers.get("user-agent", "").startswith(_COPILOT)

    def answer() -> bytes:
        reply = shown(model, read_facts(model.path), body, has.settings.go_template)
        if is_copilot:
            reply["model_info"]["general.basename"] = body.model
        return encode(reply)

    return JSON(await asyncio.to_thread(answer))


async def copy(request: Request) -> Response:
    body = await read(request, CopyRequest)
    for field, name in (("source", body.source), ("destination", body.destination)):
        _check_name(name, f'{field} "{name}" is invalid')
    store = services(request).store
    source = local_name(body.source)
    await in_store(lambda name: store.copy(name, body.destination), source, COPY)
    return Response()


async def delete(request: Request) -> Response:
    body = await read(request, DeleteRequest)
    if not body.model:
        raise DELETE.empty()
    name = local_name(body.model)
    # Checked here, for the store also knows files by their path and those are not ours to delete.
    _check_name(name, DELETE.invalid(name))
    await in_store(services(request).store.delete, name, DELETE)
    return Response()


def _check_name(name: str, complaint: str) -> None:
    try:
        ModelName.parse(name)
    except InvalidModelName:
        raise InvalidModelName(complaint, name=name) from None
