"""Pulling from the Hugging Face hub: its files, made into a model of the store."""

from functools import partial

from cama.core.load import LoadOptions
from cama.core.settings import Settings
from cama.modelfile.create import create_from_recipe
from cama.modelfile.recipe import Recipe
from cama.registry.hub import Hub
from cama.registry.huggingface import Found, HubPull, Machine
from cama.registry.patience import Patience
from cama.registry.progress import Progress, Report
from cama.scheduler.host import host_memory
from cama.store.names import ModelName
from cama.store.store import Store

_MEMORY_SHARE = 0.8
"""Of the machine's memory; the rest is everybody else's."""

_SHOWN = ("writing manifest", "success")
"""The steps of making a model that a pull tells too."""


def pull_from_hub(
    name: ModelName, store: Store, settings: Settings, patience: Patience, report: Report
) -> None:
    """Pull ``hf.co/USER/REPO[:TAG]``. Raises the errors of HubPull.run and of creating a model."""
    HubPull(
        name=name,
        store=store,
        hub=Hub(settings.hf_endpoint, settings.hf_token),
        machine=_machine(settings),
        patience=patience,
        report=report,
    ).run(partial(_make, store, name, report))


def _make(store: Store, name: ModelName, report: Report, found: Found) -> None:
    recipe = Recipe(
        files=found.files,
        template=found.template,
        system=found.system,
        params=found.params,
        info=found.info,
    )

    def status(text: str) -> None:
        if text in _SHOWN:
            report(Progress(text))

    report(Progress("verifying sha256 digest"))
    create_from_recipe(store, name.full, recipe, status)


def _machine(settings: Settings) -> Machine:
    n_tokens = LoadOptions(n_ctx=settings.context_length).cells_for(0)
    return Machine(memory_bytes=int(host_memory().total * _MEMORY_SHARE), n_tokens=n_tokens)
