"""From a request that creates a model to the recipe of one."""

from collections.abc import Mapping
from pathlib import Path

from cama.api.names import local_name
from cama.core.errors import InvalidModelName, InvalidRequest
from cama.modelfile.recipe import Recipe, read_version
from cama.modelfile.sources import Checkpoint, Source, is_safetensors
from cama.store.digests import parse_digest
from cama.store.files import storing
from cama.store.names import ModelName
from cama.store.store import Store
from cama.wire.creation import CreateRequest

_MAGIC = b"GGUF"


def check_names(body: CreateRequest) -> None:
    """Raises InvalidModelName and InvalidModelfile on what is wrong at first sight."""
    for name in (body.model, *([body.base] if body.base else ())):
        try:
            ModelName.parse(local_name(name))
        except InvalidModelName:
            raise InvalidModelName("invalid model name", name=name) from None
    read_version(body.requires)


def recipe_of(body: CreateRequest, store: Store) -> Recipe:
    """What ``body`` asks for, of blobs that are in ``store``.

    Raises InvalidRequest and StoreError. What is missing is the client's mistake, and 400.
    """
    if not body.base and not body.files:
        raise InvalidRequest("neither 'from' or 'files' was specified")
    adapters = _sources(body, body.adapters, store)
    if len(adapters) > 1:
        raise InvalidRequest("only one adapter is currently supported", field="adapters")
    return Recipe(
        models=(local_name(body.base),) if body.base else (),
        files=() if body.base else _sources(body, body.files, store),
        adapters=adapters,
        drafts=_sources(body, body.draft_files, store),
        template=body.template,
        system=body.system,
        renderer=body.renderer,
        parser=body.parser,
        requires=read_version(body.requires),
        licenses=body.licenses,
        params=body.parameters,
        messages=body.messages,
        quantize=body.quantize,
        info=body.info,
    )


def _sources(body: CreateRequest, files: Mapping[str, str], store: Store) -> tuple[Source, ...]:
    """The GGUF files among blobs, or the one set of safetensors files that they are."""
    paths = {name: _blob(store, digest) for name, digest in files.items()}
    if any(is_safetensors(name) for name in paths):
        return (Checkpoint(body.model, paths),)
    for name, path in paths.items():
        if not name.endswith(".gguf") and not _is_gguf(path):
            raise InvalidRequest("unknown type", field=name)
    return tuple(paths.values())


def _blob(store: Store, text: str) -> Path:
    digest = parse_digest(text)
    with storing(store.root):
        if store.blobs.size(digest) is None:
            raise InvalidRequest(f"open {digest}: no such file or directory", digest=digest)
    return store.blobs.path(digest)


def _is_gguf(path: Path) -> bool:
    with storing(path), path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
