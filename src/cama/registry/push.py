"""Pushing: a model of the store to the registry that its name says."""

import math
import time

from cama.core.errors import ModelNotFound
from cama.registry.access import Access
from cama.registry.download import REPORT_SECONDS
from cama.registry.identity import Identity
from cama.registry.progress import Progress, Report, about_blob
from cama.registry.repository import Repository, check
from cama.registry.upload import Upload
from cama.registry.web import Web
from cama.store.files import storing
from cama.store.manifest import MANIFEST_TYPE, Layer
from cama.store.names import ModelName
from cama.store.store import Store


def push(name: ModelName, store: Store, access: Access, report: Report) -> None:
    """Send the model ``name`` to its host, as ``report`` is told in Ollama's words.

    Raises ModelNotFound, InvalidModelFile when a blob is missing, RegistryError, StoreError,
    Cancelled.
    """
    access.check()
    report(Progress("retrieving manifest"))
    try:
        existing, manifest = store.manifest(name.full)
    except ModelNotFound:
        report(Progress("couldn't retrieve manifest"))
        raise
    web = Web(existing.host, access.patience, insecure=access.insecure)
    try:
        repository = Repository(existing, web, Identity(web, access))
        with storing(store.root), store.staging() as staging:
            for layer in {layer.digest: layer for layer in manifest.blobs}.values():
                staging.find(layer.digest, layer.size)  # nobody removes it meanwhile
                _push_blob(repository, store, layer, report)
            report(Progress("pushing manifest"))
            access.patience.persist(lambda: _put(repository, store.manifests.read(existing)))
        report(Progress("success"))
    finally:
        web.close()


def _push_blob(repository: Repository, store: Store, layer: Layer, report: Report) -> None:
    path = store.blobs.locate(layer)
    last = -math.inf

    def say(n_bytes: int) -> None:
        nonlocal last
        now = time.monotonic()
        if n_bytes == layer.size or now - last >= REPORT_SECONDS:
            last = now
            report(about_blob("pushing", layer.digest, layer.size, n_bytes))

    say(0)
    Upload(repository, layer, path, say).run()


def _put(repository: Repository, manifest: bytes) -> None:
    url = f"{repository.base}/manifests/{repository.name.tag}"
    with repository.send("PUT", url, {"Content-Type": MANIFEST_TYPE}, manifest) as answer:
        check(answer)
