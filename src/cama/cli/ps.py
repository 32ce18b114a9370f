"""``cama ps``: the models that are loaded."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from cama.cli import human
from cama.cli.background import running
from cama.cli.table import table
from cama.client.fields import integer, text
from cama.core.settings import Settings

_HEADER = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL", "ENGINE")
_ID_LENGTH = 12


def command(prefix: Annotated[str, typer.Argument(metavar="PREFIX")] = "") -> None:
    client = running(Settings.load())
    models = client.ps() if client else []
    print(loaded_table(models, datetime.now().astimezone(), prefix), end="")


def loaded_table(models: Sequence[Mapping[str, Any]], now: datetime, prefix: str = "") -> str:
    """The models whose names start with ``prefix``, exactly as written."""
    rows = [_row(m, now) for m in models if text(m, "name").startswith(prefix)]
    return table(_HEADER, rows)


def processor(size: int, size_vram: int) -> str:
    """Where a model of ``size`` bytes lies, ``size_vram`` of them in the memory of a GPU."""
    if size_vram == 0:
        return "100% CPU"
    if size_vram > size or size == 0:
        return "Unknown"
    if size_vram == size:
        return "100% GPU"
    cpu = int((size - size_vram) / size * 100 + 0.5)
    return f"{cpu}%/{100 - cpu}% CPU/GPU"


def _row(model: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    size = integer(model, "size")
    return (
        text(model, "name"),
        text(model, "digest")[:_ID_LENGTH],
        human.size(size),
        processor(size, integer(model, "size_vram")),
        str(integer(model, "context_length")),
        _until(human.moment(text(model, "expires_at")), now),
        text(model, "engine"),
    )


def _until(expires: datetime, now: datetime) -> str:
    return "Stopping..." if expires < now else human.relative(expires, now)
