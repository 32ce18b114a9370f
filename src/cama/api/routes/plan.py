"""POST /api/plan: what a model would take, and whether it fits."""

import asyncio
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.names import CHAT, find
from cama.api.problems import JSON
from cama.api.services import services
from cama.api.specs import model_spec, planned
from cama.core.load import CACHE_TYPES, LoadOptions
from cama.core.model import ModelSpec
from cama.scheduler.host import HostMemory
from cama.scheduler.plan import Device, Plan
from cama.scheduler.plan import plan as planned_memory
from cama.wire.options import Options
from cama.wire.plan import PlanRequest


async def plan(request: Request) -> Response:
    """Nothing is loaded: headers of files say it all."""
    body = await read(request, PlanRequest)
    has = services(request)
    model = await find(has.store, body.model, CHAT)
    spec = await model_spec(has, model, Options.merge(model.params, body.options))
    found = await asyncio.to_thread(_plan, spec, body, has.memory())
    facts = {"model": body.model, "parallel": _load(spec, body).n_parallel}
    return JSON(facts | {"cache_type": _load(spec, body).cache_type} | found.to_json())


def _plan(spec: ModelSpec, body: PlanRequest, host: HostMemory) -> Plan:
    own, draft = planned(spec.path, _load(spec, body))
    if body.memory is not None:
        host = HostMemory(total=max(host.total, body.memory), available=body.memory)
    gpus = [Device(name=name, free=free) for name, free in body.devices.items()]
    return planned_memory(own, host, draft=draft, gpus=gpus)


def _load(spec: ModelSpec, body: PlanRequest) -> LoadOptions:
    load = replace(spec.load, n_parallel=body.parallel or spec.load.n_parallel)
    kind = next((kind for kind in CACHE_TYPES if kind == body.cache_type), load.cache_type)
    return replace(load, cache_type=kind)
