"""From the name in a request to a model, with each endpoint's own words when there is none."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from cama.api.problems import CloudDisabled
from cama.core.errors import (
    CamaError,
    InvalidModelFile,
    InvalidModelName,
    InvalidRequest,
    ModelNotFound,
)
from cama.store.models import StoredModel
from cama.store.names import ModelName
from cama.store.plain import is_explicit_path
from cama.store.store import Store

_T = TypeVar("_T")


_NO_CLOUD = "remote model is unavailable"


def _missing(name: str) -> str:
    return f"model '{name}' not found"


def _required() -> CamaError:
    return InvalidRequest("model is required")


def _missing_short(name: str) -> str:
    return _missing(ModelName.parse(name).short)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How an endpoint complains about a name that is empty, invalid, unknown, or in the cloud."""

    empty: Callable[[], CamaError] = _required
    invalid: Callable[[str], str] = lambda name: "invalid model name"
    missing: Callable[[str], str] = _missing
    cloud: str = _NO_CLOUD


GENERATE = Wording(empty=lambda: ModelNotFound(_missing("")))
CHAT = Wording()
SHOW = Wording(missing=_missing_short, cloud="remote model details are unavailable")
DELETE = Wording(invalid=lambda name: f'name "{name}" is invalid')
EMBEDDINGS = Wording(missing=lambda name: f'model "{name}" not found, try pulling it first')
EMBED = replace(EMBEDDINGS, empty=lambda: ModelNotFound(_missing("")))
COPY = Wording(missing=lambda name: f'model "{name}" not found')


async def find(store: Store, name: str, wording: Wording) -> StoredModel:
    """The model that a request calls ``name``."""
    if not name:
        raise wording.empty()
    return await in_store(store.get, local_name(name, wording.cloud), wording)


async def find_known(
    store: Store, name: str, wording: Wording, know: Callable[[StoredModel], _T]
) -> tuple[StoredModel, _T]:
    """The same, and what ``know`` says of it: in one thread, for each costs a request time."""

    def found(name: str) -> tuple[StoredModel, _T]:
        model = store.get(name)
        return model, know(model)

    if not name:
        raise wording.empty()
    return await in_store(found, local_name(name, wording.cloud), wording)


async def in_store(action: Callable[[str], _T], name: str, wording: Wording) -> _T:
    """Do ``action`` on ``name`` in a thread; complaints about the name get the endpoint's words."""
    try:
        return await asyncio.to_thread(action, name)
    except InvalidModelName:
        raise InvalidModelName(wording.invalid(name), name=name) from None
    except ModelNotFound:
        raise ModelNotFound(_reworded(wording, name), name=name) from None
    except InvalidModelFile as error:
        if is_explicit_path(name):  # the client's file, and so the client's mistake
            raise InvalidRequest(error.message, field="model") from error
        raise


def _reworded(wording: Wording, name: str) -> str:
    try:
        return wording.missing(name)
    except InvalidModelName:  # the path of a file
        return _missing(name)


def full_name(name: str) -> str:
    """A model's name with its registry and tag; the path of a file as it is."""
    try:
        return ModelName.parse(name).full
    except InvalidModelName:
        return name


def local_name(name: str, cloud: str = _NO_CLOUD) -> str:
    """``name`` without its source selector. Raises CloudDisabled when that selects the cloud."""
    base, source = _split_source(name)
    if source and _split_source(base)[1]:
        raise InvalidRequest(f'use either :local or :cloud, not both: "{name}"')
    if source == "cloud":
        raise CloudDisabled(f"ollama cloud is disabled: {cloud}")
    return base


def _split_source(name: str) -> tuple[str, str]:
    base, colon, tag = name.rpartition(":")
    lower = tag.lower()
    if not colon or "/" in tag:
        return name, ""
    if lower in ("cloud", "local"):
        return base, lower
    if lower.endswith("-cloud"):
        return f"{base}:{tag[: -len('-cloud')]}", "cloud"
    return name, ""
