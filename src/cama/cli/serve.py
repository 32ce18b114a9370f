"""``cama serve``: run the server in the foreground."""

from typing import Annotated

import typer

from cama.core.errors import InvalidOption
from cama.core.log import configure
from cama.core.settings import Settings


def command(
    idle_exit: Annotated[
        str | None, typer.Option("--idle-exit", metavar="SECONDS", hidden=True)
    ] = None,
) -> None:
    settings = Settings.load()
    seconds = None if idle_exit is None else _seconds(idle_exit)
    configure(debug=settings.debug)

    from cama.api.server import serve

    serve(settings, idle_exit=seconds)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InvalidOption(f'invalid argument "{text}" for --idle-exit: must be seconds')
    return seconds
