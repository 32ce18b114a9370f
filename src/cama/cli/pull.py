"""``cama pull``: fetch a model from a registry."""

from typing import Annotated

import typer

from cama.cli import transfer
from cama.cli.background import connect
from cama.core.settings import Settings


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    insecure: Annotated[bool, typer.Option("--insecure", help="Use http, without TLS")] = False,
) -> None:
    transfer.pull(connect(Settings.load()), model, insecure=insecure)
