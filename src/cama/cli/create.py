"""``cama create``: make a model from a Modelfile, here or on the machine of the server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cama.cli.background import is_local
from cama.cli.progress import Progress, progress
from cama.core.errors import InvalidModelfile
from cama.core.settings import Settings

if TYPE_CHECKING:  # imported by the command that needs them
    from cama.modelfile.parser import Modelfile

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
            help="Quantize the model to this level (e.g. q4_K_M)",
        ),
    ] = "",
) -> None:
    from cama.store.names import ModelName

    settings = Settings.load()
    ModelName.parse(model)  # before any work that a bad name makes vain
    with progress() as shown:
        shown.status("gathering model components")
        path = Path(file or "Modelfile")
        modelfile = _modelfile(path, file)
        if is_local(settings.host):
            _create_here(settings, model, modelfile, path.parent, quantize, shown)
        else:
            from cama.cli.create_there import create_there

            create_there(settings, model, modelfile, path.parent, quantize, shown)


def _modelfile(path: Path, given: str) -> "Modelfile":
    from cama.modelfile.parser import load_modelfile, parse_modelfile

    if path.exists():
        return load_modelfile(path)
    if given:
        raise InvalidModelfile(f"there is no Modelfile {given}", path=given)
    return parse_modelfile(_IMPLICIT)


def _create_here(
    settings: Settings,
    name: str,
    modelfile: "Modelfile",
    folder: Path,
    quantize: str,
    shown: Progress,
) -> None:
    """Into the store itself: nothing is sent, and files need not even be copied."""
    from cama.modelfile.create import create_model
    from cama.runner.jobs import Jobs
    from cama.store.store import Store

    jobs = Jobs(shown.advance, settings.num_threads)
    store = Store.of(settings)
    create_model(store, name, modelfile, folder, shown.status, quantize=quantize, jobs=jobs)
