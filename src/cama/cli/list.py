"""``cama list``: the models of the store."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from cama.cli import human
from cama.cli.background import connect
from cama.cli.table import table
from cama.client.fields import integer, text
from cama.core.settings import Settings

_HEADER = ("NAME", "ID", "SIZE", "MODIFIED")
_ID_LENGTH = 12


def command(prefix: Annotated[str, typer.Argument(metavar="PREFIX")] = "") -> None:
    models = connect(Settings.load()).tags()
    print(models_table(models, datetime.now().astimezone(), prefix), end="")


def models_table(models: Sequence[Mapping[str, Any]], now: datetime, prefix: str = "") -> str:
    """The models whose names start with ``prefix``, in any case."""
    wanted = prefix.lower()
    rows = [_row(m, now) for m in models if text(m, "name").lower().startswith(wanted)]
    return table(_HEADER, rows)


def _row(model: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    return (
        text(model, "name"),
        text(model, "digest")[:_ID_LENGTH],
        "-" if text(model, "remote_model") else human.size(integer(model, "size")),
        human.relative(human.moment(text(model, "modified_at")), now),
    )
