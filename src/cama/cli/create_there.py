"""Creating a model on another machine: its files are sent there, and the server does the rest."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from cama.cli.background import connect
from cama.cli.progress import Progress
from cama.client.client import Client
from cama.client.fields import integer, text
from cama.core.errors import InvalidModelfile
from cama.core.settings import Settings
from cama.modelfile.parser import Modelfile
from cama.modelfile.recipe import read_recipe
from cama.modelfile.request import create_request
from cama.modelfile.weights import file_type
from cama.store.files import storing

_CHUNK_BYTES = 1 << 20


def create_there(
    settings: Settings,
    name: str,
    modelfile: Modelfile,
    folder: Path,
    quantize: str,
    shown: Progress,
) -> None:
    """Raises what the server refuses, and as read_recipe does."""
    if quantize:
        file_type(quantize)
    recipe = read_recipe(modelfile, folder, lambda line: shown.status(f"warning: {line}"))
    if recipe.models and recipe.files:
        raise InvalidModelfile("FROM a model and FROM a file can be combined on this machine only")
    if len(recipe.models) > 1:
        raise InvalidModelfile("only one FROM can name a model; the others must be files")
    client = connect(settings)
    recipe = replace(recipe, quantize=quantize)
    body = create_request(name, recipe, lambda path: _send(client, path, shown))
    for event in client.create(body):
        total = integer(event, "total")
        if total:
            shown.advance(text(event, "status"), integer(event, "completed"), total)
        else:
            shown.status(text(event, "status"))


def _send(client: Client, path: Path, shown: Progress) -> str:
    """Leave a file with the server, unless it has it; returns the digest."""
    with storing(path), path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if not client.has_blob(digest):
            size = os.fstat(file.fileno()).st_size
            file.seek(0)
            client.send_blob(digest, _pieces(file, digest, size, shown), size)
    return digest


def _pieces(file: BinaryIO, digest: str, size: int, shown: Progress) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(_CHUNK_BYTES):
        sent += len(piece)
        shown.advance(f"copying file {digest}", sent, size)
        yield piece
