"""``cama quantize``: a GGUF file in another type, made by llama.cpp's quantizer."""

from pathlib import Path
from typing import Annotated

import typer

from cama.cli.outfile import making
from cama.cli.progress import progress
from cama.cli.reference import model_reference
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
    from cama.runner.jobs import Jobs
    from cama.store.store import Store

    settings = Settings.load()
    number = file_type(kind)
    model = Store.of(settings).get(model_reference(source))
    with progress() as shown, making(target) as temporary:
        request = {
            "source": str(model.path.absolute()),
            "target": str(temporary),
            "type": number,
            "label": f"quantizing {model.path.name if model.is_file else model.name} to {kind}",
            "is_pure": pure,
            "may_requantize": allow_requantize,
            "n_threads": settings.num_threads,
        }
        if imatrix:
            request |= {"imatrix": str(Path(imatrix).absolute()), "imatrix_name": imatrix}
        Jobs(shown.advance, settings.num_threads).run("cama.runner.quantize", request)
