"""Files that clients leave here to create models from, named after their content."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from cama.api.problems import BodyTooLarge
from cama.api.services import services
from cama.core.errors import InvalidRequest
from cama.store.digests import parse_digest
from cama.store.files import storing
from cama.store.store import Store

_SPARE_BYTES = 1 << 30
"""What an upload leaves free on the disk, for everybody else."""

_WRITE_BYTES = 4 << 20


async def head_blob(request: Request) -> Response:
    store = services(request).store
    try:
        digest = parse_digest(request.path_params["digest"])
    except InvalidRequest:
        return Response(status_code=400)
    with storing(store.root):
        is_there = await asyncio.to_thread(store.blobs.size, digest) is not None
    return Response(status_code=200 if is_there else 404)


async def post_blob(request: Request) -> Response:
    """Store the body if it is what its name says. It is written as it comes."""
    store = services(request).store
    digest = parse_digest(request.path_params["digest"])
    with storing(store.root):
        if await asyncio.to_thread(store.blobs.size, digest) is not None:
            return Response()
        # Made first: what is free is asked of its file system.
        await asyncio.to_thread(store.blobs.folder.mkdir, parents=True, exist_ok=True)
        _require_room(store.blobs.folder, int(request.headers.get("content-length", 0)))
        await _take_in(store, digest, request.stream())
    return Response(status_code=201)


async def _take_in(store: Store, digest: str, stream: AsyncIterator[bytes]) -> None:
    with store.staging() as staging:
        incoming = staging.open()
        async for piece in _gathered(stream):
            _require_room(store.blobs.folder, len(piece))
            await asyncio.to_thread(incoming.write, piece)
        await asyncio.to_thread(staging.accept, incoming, digest)
        await asyncio.to_thread(store.add_blobs, staging)


async def _gathered(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The stream in pieces that are worth a thread's while."""
    pieces: list[bytes] = []
    size = 0
    async for piece in stream:
        pieces.append(piece)
        size += len(piece)
        if size >= _WRITE_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def _require_room(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free - _SPARE_BYTES:
        raise BodyTooLarge(f"no room for the blob: {free} bytes are free in {folder}")
