"""``cama imatrix``: how much each column of a model's matrices matters, for ``cama quantize``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cama.cli.outfile import making
from cama.cli.progress import progress
from cama.cli.reference import model_reference
from cama.cli.sample import SAMPLE
from cama.core.errors import InvalidOption
from cama.core.settings import Settings

_MAX_TEXT_BYTES = 256 << 20
_MAX_CHUNK = 1 << 16


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    text: Annotated[str, typer.Argument(metavar="TEXT")] = "",
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The file to write")
    ] = "imatrix.gguf",
    chunks: Annotated[
        int, typer.Option("--chunks", metavar="N", help="Read at most N chunks (0: all)")
    ] = 0,
    ctx: Annotated[int, typer.Option("--ctx", metavar="N", help="Tokens of a chunk")] = 512,
) -> None:
    from cama.runner.jobs import Jobs
    from cama.store.store import Store

    if not 16 <= ctx <= _MAX_CHUNK or chunks < 0:
        raise InvalidOption(f"--ctx must be from 16 to {_MAX_CHUNK}, and --chunks not negative")
    settings = Settings.load()
    found = Store.of(settings).get(model_reference(model))
    with progress() as shown, making(output) as target:
        if not text:
            shown.status("warning: our own short text tells little; name a file of typical texts")
        request = {
            "model": str(found.path.absolute()),
            "text": _read(text) if text else SAMPLE,
            "dataset": text or "sample",
            "target": str(target),
            "chunk_size": ctx,
            "n_chunks": chunks,
            "n_threads": settings.num_threads,
            "label": "reading",
        }
        jobs = Jobs(shown.advance, settings.num_threads)
        done = jobs.run("cama.runner.imatrix", request)
        shown.status(f"{done['n_tensors']} tensors, {done['n_chunks']} chunks of {ctx} tokens")


def _read(name: str) -> str:
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            data = file.read(_MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise InvalidOption(f"cannot read {name}: {error.strerror}") from None
    if len(data) > _MAX_TEXT_BYTES:
        raise InvalidOption(f"{name} is larger than {_MAX_TEXT_BYTES} bytes")
    return data.decode(errors="replace")
