"""``cama cp``: give a model a second name."""

from typing import Annotated

import typer

from cama.cli.background import connect
from cama.core.settings import Settings


def command(
    source: Annotated[str, typer.Argument(metavar="SOURCE")],
    destination: Annotated[str, typer.Argument(metavar="DESTINATION")],
) -> None:
    connect(Settings.load()).copy(source, destination)
    print(f"copied '{source}' to '{destination}'")
