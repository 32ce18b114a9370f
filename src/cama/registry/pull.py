"""Pulling: a model of a registry into the store, resumed where an earlier pull has ended."""

from collections.abc import Mapping

from cama.core.errors import InvalidModelFile, RegistryError, Unsupported
from cama.registry.access import Access
from cama.registry.blob_source import BlobSource
from cama.registry.fetch import Fetcher, check_space
from cama.registry.identity import Identity
from cama.registry.patience import Patience
from cama.registry.progress import Progress, Report
from cama.registry.repository import Repository
from cama.registry.web import Web
from cama.store.blobs import TEXT_LIMIT
from cama.store.files import storing
from cama.store.manifest import LARGE, Layer, Manifest, MediaType
from cama.store.names import ModelName
from cama.store.partials import completed
from cama.store.store import Store

MAX_LAYERS = 4096
_TENSOR = "application/vnd.ollama.image.tensor"
_NO_MLX = "this model requires MLX support, but the MLX runtime is not available"


def pull(name: ModelName, store: Store, access: Access, report: Report) -> None:
    """Fetch the model ``name`` from its host, as ``report`` is told in Ollama's words.

    Until all of it is there and right, the store has the model that it had. What has come stays for
    the next pull. Raises RegistryError, InvalidModelFile, Unsupported, StoreError, Cancelled.
    """
    access.check()
    report(Progress("pulling manifest"))
    web = Web(name.host, access.patience, insecure=access.insecure)
    try:
        repository = Repository(name, web, Identity(web, access))
        data = _manifest(repository, access.patience)
        manifest = Manifest.from_bytes(data, f"the manifest of {name.short}")
        sizes = check_manifest(manifest)
        with storing(store.root), store.staging() as staging:
            fetcher = Fetcher(store, staging, access.patience, report)
            store.blobs.folder.mkdir(parents=True, exist_ok=True)
            check_space(store.blobs.folder, _missing_bytes(store, sizes))
            for digest, size in sizes.items():
                fetcher.fetch(
                    digest, size, BlobSource(repository, f"{repository.base}/blobs/{digest}", size)
                )
            report(Progress("verifying sha256 digest"))
            report(Progress("writing manifest"))
            n_removed = store.publish(name.full, manifest, staging, verbatim=data)
        if n_removed:
            report(Progress("removing unused layers"))
        report(Progress("success"))
    finally:
        web.close()


def check_manifest(manifest: Manifest) -> Mapping[str, int]:
    """The blobs that a manifest from elsewhere needs, with their sizes, in its order.

    Raises InvalidModelFile for one that makes no sense, and Unsupported for a kind of model that
    runs nowhere here.
    """
    if len(manifest.layers) > MAX_LAYERS:
        raise _invalid("layers", f"has {len(manifest.layers)} layers; {MAX_LAYERS} are allowed")
    sizes: dict[str, int] = {}
    for layer in manifest.blobs:
        if sizes.setdefault(layer.digest, layer.size) != layer.size:
            raise _invalid("size", f"gives {layer.digest} two sizes")
        if layer.media_type == _TENSOR:
            raise Unsupported(_NO_MLX)
        if _is_text(layer) and layer.size > TEXT_LIMIT:
            raise _invalid("size", f"has {layer.size} bytes of {layer.media_type}")
    return sizes


def _is_text(layer: Layer) -> bool:
    return layer.media_type in frozenset(MediaType) - frozenset(LARGE)


def _missing_bytes(store: Store, sizes: Mapping[str, int]) -> int:
    """What has to come."""
    blobs = store.blobs
    return sum(
        size - min(completed(blobs.folder, digest), size)
        for digest, size in sizes.items()
        if blobs.size(digest) != size
    )


def _manifest(repository: Repository, patience: Patience) -> bytes:
    try:
        return patience.persist(repository.manifest)
    except RegistryError as error:
        raise type(error)(f"pull model manifest: {error.message}", **error.fields) from error


def _invalid(field: str, reason: str) -> InvalidModelFile:
    return InvalidModelFile(f"the registry's manifest {reason}", path="manifest", field=field)
