"""Models of the Hugging Face hub: the files that suit this machine, into the store."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cama.core.errors import InvalidModelFile, RegistryDenied
from cama.registry.blob_source import BlobSource
from cama.registry.fetch import Fetcher, check_space
from cama.registry.hub import Hub, Repository
from cama.registry.patience import Patience
from cama.registry.progress import Progress, Report
from cama.registry.repository import check
from cama.registry.web import Answer, Web
from cama.store.files import storing
from cama.store.hub_cache import find_snapshot
from cama.store.names import DEFAULT_TAG, ModelName
from cama.store.staging import Staging
from cama.store.store import Store
from cama.store.variants import RepoFile, Variant, choose, named, projector, variants

_TEXT_LIMIT = 1 << 20
_DENIED = (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a model must fit in: memory in bytes, and the tokens of its cache."""

    memory_bytes: int
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model whose files are blobs of the store; ``info`` says where it is from, and why it.

    ``template``, ``system`` and ``params`` are those that the repository has for programs like
    ours, in files of these names.
    """

    files: tuple[Path, ...]
    info: Mapping[str, Any]
    template: str = ""
    system: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


class HubFiles:
    """Requests for the contents of files; implements cama.registry.blob_source.Asks."""

    def __init__(self, hub: Hub, patience: Patience) -> None:
        parts = urlsplit(hub.endpoint)
        self.web = Web(parts.netloc, patience, insecure=parts.scheme == "http")
        self._secrets = hub.headers()

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        answer = self.web.follow(method, url, headers, self._secrets)
        if answer.status in _DENIED and urlsplit(answer.url).netloc == self.web.home:
            answer.close()
            raise RegistryDenied("the hub wants a token for this file", status=answer.status)
        return answer

    def text(self, url: str, what: str) -> str:
        """A small file. Raises RegistryError and InvalidModelFile."""
        with self.ask("GET", url, {}) as answer:
            check(answer)
            data = answer.whole(_TEXT_LIMIT, what)
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise InvalidModelFile(f"{what} is not UTF-8", path=what, field="text") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPull:
    """A pull of the model ``name`` from ``hub`` into ``store``.

    A tag names a quantization or a file; without one the machine decides.
    """

    name: ModelName
    store: Store
    hub: Hub
    machine: Machine
    patience: Patience
    report: Report

    def run(self, make: Callable[[Found], None]) -> None:
        """Fetch the files, and let ``make`` make a model of the store of them.

        What has come stays for the next pull. Raises ModelNotFound, InvalidRequest,
        UnsupportedModel, RegistryError, InvalidModelFile, StoreError, Cancelled, and what ``make``
        raises.
        """
        self.report(Progress("pulling manifest"))
        repository = self.hub.repository(f"{self.name.namespace}/{self.name.model}")
        variant, reason = self._decide(repository)
        self.report(Progress(reason))
        eyes = projector(repository.files)
        contents = HubFiles(self.hub, self.patience)
        try:
            with storing(self.store.root), self.store.staging() as staging:
                files = (*variant.files, *([eyes] if eyes else []))
                paths = self._fetch(repository, files, contents, staging)
                info = {"cama": _origin(repository, variant, reason, eyes)}
                make(self._found(repository, contents, paths, info))
        finally:
            contents.web.close()

    def _decide(self, repository: Repository) -> tuple[Variant, str]:
        found = variants(repository.files)
        if found and self.name.tag != DEFAULT_TAG:
            variant = named(found, self.name.tag)
            return variant, f"{variant.name} was asked for"
        return choose(
            found,
            memory_bytes=self.machine.memory_bytes,
            n_tokens=self.machine.n_tokens,
            n_parameters=repository.n_parameters,
        )

    def _fetch(
        self,
        repository: Repository,
        files: Sequence[RepoFile],
        contents: HubFiles,
        staging: Staging,
    ) -> tuple[Path, ...]:
        """The files as blobs, which stay until ``staging`` is left."""
        blobs = self.store.blobs
        blobs.folder.mkdir(parents=True, exist_ok=True)
        digests = [file.digest or self.hub.digest(repository, file) for file in files]
        wanted = list(zip(files, digests, strict=True))
        check_space(blobs.folder, sum(f.size for f, d in wanted if blobs.size(d) != f.size))
        fetcher = Fetcher(self.store, staging, self.patience, self.report)
        for file, digest in wanted:
            self._take_cached(repository, file, digest)
            source = BlobSource(contents, self.hub.url(repository, file), file.size)
            fetcher.fetch(digest, file.size, source)
        return tuple(map(blobs.path, digests))

    def _take_cached(self, repository: Repository, file: RepoFile, digest: str) -> None:
        """Put a file into the store that the hub's own client has downloaded, if it has."""
        cache = self.store.hub_cache
        if cache is None or self.store.blobs.size(digest) == file.size:
            return
        snapshot = find_snapshot(cache, self.name, repository.commit)
        path = snapshot / file.path if snapshot else None
        if path is None or not path.is_file() or path.stat().st_size != file.size:
            return
        with self.store.staging() as staging:
            if staging.add_file(path).digest == digest:  # else it is damaged
                self.store.add_blobs(staging)

    def _found(
        self,
        repository: Repository,
        contents: HubFiles,
        paths: tuple[Path, ...],
        info: Mapping[str, Any],
    ) -> Found:
        texts: dict[str, str] = {}
        for kind in ("template", "system", "params"):
            if file := repository.file(kind):
                texts[kind] = contents.text(self.hub.url(repository, file), f"the file {kind}")
        return Found(
            files=paths,
            info=info,
            template=texts.get("template", ""),
            system=texts.get("system", ""),
            params=_params(texts.get("params", "")),
        )


def _origin(
    repository: Repository, variant: Variant, reason: str, eyes: RepoFile | None
) -> Mapping[str, Any]:
    """Where a model is from, as its config keeps it."""
    return {
        "repository": repository.name,
        "commit": repository.commit,
        "files": [file.path for file in variant.files],
        **({"projector": eyes.path} if eyes else {}),
        "reason": reason,
    }


def _params(text: str) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(str(error)) from None
    if not isinstance(values, dict):
        raise _invalid("not an object")
    return values


def _invalid(reason: str) -> InvalidModelFile:
    return InvalidModelFile(
        f"the repository's file params is not JSON: {reason}", path="params", field="json"
    )
