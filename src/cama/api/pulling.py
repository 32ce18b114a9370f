"""Getting a model from where its name says. What talks to registries is imported on demand."""

import threading
from typing import TYPE_CHECKING

from cama.api.services import Services
from cama.store.hub_cache import HUB_HOSTS
from cama.store.names import ModelName

if TYPE_CHECKING:
    from cama.registry.access import Access
    from cama.registry.progress import Report


def pull_model(
    has: Services, name: ModelName, report: "Report", stop: threading.Event, *, insecure: bool
) -> None:
    """Pull ``name`` from the Hugging Face hub or from its registry, until ``stop`` is set.

    Raises Offline, and what either of them refuses.
    """
    access = access_of(has, stop, insecure=insecure)
    access.check()
    if name.host.lower() in HUB_HOSTS:
        from cama.api.hub import pull_from_hub

        pull_from_hub(name, has.store, has.settings, access.patience, report)
    else:
        from cama.registry.pull import pull

        pull(name, has.store, access, report)


def access_of(has: Services, stop: threading.Event, *, insecure: bool) -> "Access":
    from cama.registry.access import Access
    from cama.registry.patience import Patience

    return Access.of(has.settings, insecure=insecure, patience=Patience(stop=stop))
