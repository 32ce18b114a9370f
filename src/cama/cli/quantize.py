"""``cama quantize``: a GGUF file in another type, made by llama.cpp's quantizer."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from cama.cli.progress import progress
from cama.core.errors import InvalidOption
from cama.core.settings import Settings


def command(
    source: Annotated[str, typer.Argument(metavar="IN")],
    target: Annotated[str, typer.Argument(metavar="OUT")],
    kind: Annotated[str, typer.Argument(metavar="TYPE")],
    imatrix: Annotated[
        str,
        typer.Option("--imatrix", metavar="FILE", help="Importance matrix made by cama imatrix"),
    ] = "",
    pure: Annotated[
        bool, typer.Option("--pure", help="The same type for all matrices: no mixture")
    ] = False,
    allow_requantize: Annotated[
        bool,
        typer.Option("--allow-requantize", help="Read weights that are quantized already"),
    ] = False,
) -> None:
    from cama.modelfile.weights import file_type
    from cama.store.files import storing
    from cama.store.store import Store

    settings = Settings.load()
    number = file_type(kind)
    model = Store.of(settings).get(source)
    out = Path(target)
    if out.is_dir():
        raise InvalidOption(f"{target} is a folder, not a file")
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(8)}.tmp")
    request = {
        "source": str(model.path.absolute()),
        "target": str(temporary.absolute()),
        "type": number,
        "label": f"quantizing {source} to {kind}",
        "is_pure": pure,
        "may_requantize": allow_requantize,
        "n_threads": settings.num_threads,
    }
    if imatrix:
        request |= {"imatrix": str(Path(imatrix).absolute()), "imatrix_name": imatrix}
    with storing(out.parent):
        try:
            _run(request, settings.num_threads)
            _keep(temporary, out)
        finally:
            temporary.unlink(missing_ok=True)


def _run(request: dict[str, object], n_threads: int) -> None:
    from cama.runner.jobs import Jobs

    with progress() as shown:
        Jobs(shown.advance, n_threads).run("cama.runner.quantize", request)


def _keep(temporary: Path, out: Path) -> None:
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(out)
