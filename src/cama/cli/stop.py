"""``cama stop``: unload a model."""

from typing import Annotated

import typer

from cama.cli.background import running
from cama.cli.reference import model_reference
from cama.core.errors import ModelNotFound
from cama.core.settings import Settings


def command(model: Annotated[str, typer.Argument(metavar="MODEL")]) -> None:
    settings = Settings.load()
    client = running(settings)
    if client is None:
        raise ModelNotFound(
            f'no server runs at {settings.host.url}, so that "{model}" is not loaded'
        )
    try:
        client.load(model_reference(model), keep_alive=0)
    except ModelNotFound:
        raise ModelNotFound(f'couldn\'t find model "{model}" to stop') from None
