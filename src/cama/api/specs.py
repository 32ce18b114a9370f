"""From a model and the options of a request to what the scheduler loads."""

import asyncio
from dataclasses import replace
from pathlib import Path

from cama.api.adapters import change_experts
from cama.api.names import local_name
from cama.api.services import Services
from cama.core.errors import CamaError, InvalidOption
from cama.core.generation import Adapters
from cama.core.load import Draft, LoadOptions
from cama.core.model import ModelSpec
from cama.scheduler.host import has_gpu_backend
from cama.scheduler.plan import Model, required
from cama.store.facts import read_facts
from cama.store.models import StoredModel
from cama.wire.options import Options


async def model_spec(
    services: Services, model: StoredModel, options: Options, adapters: Adapters = ()
) -> ModelSpec:
    """How to load ``model`` for a request with ``adapters``.

    Raises InvalidOption when there is no such draft model, and the errors of adapters' files.
    """
    adapts_experts = bool(adapters) and await asyncio.to_thread(change_experts, adapters)
    guesses = await _draft_model(services, options.draft_model)
    draft = model.draft
    if guesses is not None:
        draft = Draft(path=guesses.path, digest=guesses.digest, parts=guesses.parts)
    load = replace(
        options.load(services.settings, draft),
        adapts_experts=adapts_experts,
        parts=model.parts,
        projector=next(iter(model.projectors), None),
    )
    return ModelSpec(
        name=model.name,
        path=model.path,
        digest=model.digest,
        weights_bytes=model.size + (guesses.size if guesses else 0),
        memory_bytes=await asyncio.to_thread(_memory_bytes, model, load),
        load=load,
    )


def planned(path: Path, load: LoadOptions) -> tuple[Model, Model | None]:
    """The model at ``path`` and its draft model, as the planner of memory sees them."""
    draft = _sized(load.draft.path, load.for_draft()) if load.draft else None
    return _sized(path, load), draft


def _sized(path: Path, load: LoadOptions) -> Model:
    eyes = read_facts(load.projector) if load.projector else None
    seeing = eyes.shape.weights_bytes + eyes.image_bytes if eyes else 0
    shape = read_facts(*(load.parts or (path,))).shape
    return Model(path=str(path), shape=shape, load=load, projector_bytes=seeing)


def _memory_bytes(model: StoredModel, load: LoadOptions) -> int:
    """0, for what nobody knows, where layers may go to a device with memory of its own."""
    if load.n_gpu_layers and has_gpu_backend():
        return 0
    return required(*planned(model.path, load))


async def _draft_model(services: Services, name: str) -> StoredModel | None:
    if not name:
        return None
    try:
        model = await asyncio.to_thread(services.store.get, local_name(name))
    except CamaError as error:
        # A client would take "not found" for the model itself, and try to pull that.
        raise _refusal(error.message) from error
    if model.adapters:
        raise _refusal(f'"{name}" has adapters, which a draft model cannot have')
    return model


def _refusal(reason: str) -> InvalidOption:
    return InvalidOption(f'option "draft_model": {reason}', option="draft_model")
