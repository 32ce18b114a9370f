"""Which adapters a request runs with: those of its model, or those of the models that it names."""

import asyncio
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from cama.api.names import Wording, in_store, local_name
from cama.core.errors import InvalidRequest, Unsupported
from cama.core.generation import Adapter, Adapters, combined
from cama.gguf import GGUFFile
from cama.store.facts import read_facts
from cama.store.models import StoredModel
from cama.store.store import Store
from cama.wire.adapters import AdapterChoice
from cama.wire.requests import ModelRequest

_WORDING = Wording()


async def adapters_of(store: Store, body: ModelRequest, model: StoredModel) -> Adapters:
    """Raises the errors of names and files, and InvalidRequest for what has or fits no adapter."""
    if body.adapters is None:
        chosen = [(model.name, adapter) for adapter in model.adapters]
    else:
        chosen = [pair for choice in body.adapters for pair in await _chosen(store, choice)]
    if chosen:
        await asyncio.to_thread(_check, model, chosen)
    return combined(adapter for _, adapter in chosen)


def refuse_adapters(body: ModelRequest, model: StoredModel) -> None:
    """Raise Unsupported where adapters are wanted and do not work."""
    if model.adapters if body.adapters is None else body.adapters:
        raise Unsupported("embeddings and scores are computed without adapters only")


def change_experts(adapters: Adapters) -> bool:
    """Whether any of them changes the weights of experts, which one engine only can do."""
    return any(_changes_experts(adapter.path, adapter.digest) for adapter in adapters)


@lru_cache(maxsize=256)
def _changes_experts(path: Path, digest: str) -> bool:
    with GGUFFile.open(path) as file:
        return any("_exps." in name for name in file.tensors)


def adapter_facts(adapter: Adapter) -> dict[str, Any]:
    """What show says of an adapter; its rank is the largest of its matrices."""
    with GGUFFile.open(adapter.path) as file:
        ranks = [t.shape[0] for name, t in file.tensors.items() if name.endswith(".lora_b")]
        alpha = file.get("adapter.lora.alpha")
        return {
            "digest": adapter.digest,
            "size": file.size,
            "architecture": file.architecture,
            "type": str(file.get("adapter.type", "")),
            "rank": max(ranks, default=0),
            "alpha": alpha if isinstance(alpha, float) and math.isfinite(alpha) else None,
            "parameter_count": file.parameter_count,
        }


async def _chosen(store: Store, choice: AdapterChoice) -> Iterator[tuple[str, Adapter]]:
    """The adapters of a model in the store: files that only a path names are none of ours."""
    found = await in_store(store.adapters, local_name(choice.name), _WORDING)
    if not found:
        raise InvalidRequest(f"model '{choice.name}' has no adapter", name=choice.name)
    return (
        (choice.name, Adapter(path=one.path, digest=one.digest, scale=one.scale * choice.scale))
        for one in found
    )


def _check(model: StoredModel, chosen: list[tuple[str, Adapter]]) -> None:
    architecture = read_facts(model.path).architecture
    for name, adapter in chosen:
        facts = read_facts(adapter.path)
        if facts.kind != "adapter":
            raise InvalidRequest(f"the adapter of {name} is {facts.noun}", name=name)
        if facts.architecture != architecture:
            raise InvalidRequest(
                f"the adapter of {name} is for {facts.architecture}, "
                f"but {model.name} is {architecture}",
                name=name,
            )
