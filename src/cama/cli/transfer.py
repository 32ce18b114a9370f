"""Shows how a pull or a push goes."""

from collections.abc import Iterable
from typing import Any

from cama.cli.progress import progress
from cama.client.client import Client
from cama.client.fields import integer, text


def pull(client: Client, model: str, *, insecure: bool) -> None:
    """Pull ``model``, and show how far it is."""
    show(client.pull(model, insecure=insecure))


def show(events: Iterable[dict[str, Any]]) -> None:
    """Show the events of a transfer on standard error. Raises what the server says went wrong."""
    with progress() as shown:
        for event in events:
            if total := integer(event, "total"):
                shown.advance(text(event, "status"), integer(event, "completed"), total)
            else:
                shown.status(text(event, "status"))
