"""``cama create``: make a model of the local store from a Modelfile."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cama.cli.background import is_local
from cama.core.errors import InvalidModelfile, Unsupported
from cama.core.settings import Settings

_IMPLICIT = "FROM .\n"
"""What a Modelfile says that is missing and that nobody named."""


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    file: Annotated[
        str,
        typer.Option("--file", "-f", metavar="FILE", help='The Modelfile (default "Modelfile")'),
    ] = "",
    quantize: Annotated[
        str,
        typer.Option(
            "--quantize",
            "-q",
            metavar="LEVEL",
            help="Not in this version: quantize to this level",
        ),
    ] = "",
) -> None:
    settings = Settings.load()
    if quantize:
        raise Unsupported("quantizing while creating a model is not supported yet")
    if not is_local(settings.host):
        raise Unsupported(
            f"creating a model on another machine ({settings.host.url}) is not supported yet"
        )
    _create(settings, model, file)


def _create(settings: Settings, model: str, file: str) -> None:
    from cama.modelfile.create import create_model
    from cama.modelfile.parser import load_modelfile, parse_modelfile
    from cama.store.names import ModelName
    from cama.store.store import Store

    ModelName.parse(model)  # before any work that a bad name makes vain
    _status("gathering model components")
    path = Path(file or "Modelfile")
    if path.exists():
        modelfile = load_modelfile(path)
    elif file:
        raise InvalidModelfile(f"there is no Modelfile {file}", path=file)
    else:
        modelfile = parse_modelfile(_IMPLICIT)
    create_model(Store.of(settings), model, modelfile, path.parent, _status)


def _status(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
