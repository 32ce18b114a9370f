"""``cama rm``: unload models and delete them from the store."""

import sys
from typing import Annotated

import typer

from cama.cli.background import connect
from cama.client.client import Client
from cama.core.errors import CamaError, ModelNotFound, ServerUnavailable
from cama.core.settings import Settings


def command(models: Annotated[list[str], typer.Argument(metavar="MODEL")]) -> None:
    client = connect(Settings.load())
    for model in models:
        _unload(client, model)
        client.delete(model)
        print(f"deleted '{model}'")


def _unload(client: Client, model: str) -> None:
    try:
        client.load(model, keep_alive=0)
    except (ModelNotFound, ServerUnavailable):
        return  # deleting it will say so
    except CamaError:
        print(f"Warning: unable to stop model '{model}'", file=sys.stderr)
