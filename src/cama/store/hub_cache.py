"""The Hugging Face hub's own cache: what its client has downloaded is a model where it is."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cama.core.errors import CamaError, InvalidModelName
from cama.store.models import StoredModel
from cama.store.names import DEFAULT_TAG, ModelName
from cama.store.plain import open_file
from cama.store.variants import RepoFile, named, projector, variants

HUB_HOSTS = frozenset({"hf.co", "huggingface.co"})
"""Hosts of model names that mean the hub."""

_MAX_FILES = 10_000


def find_cached(text: str, cache: Path | None) -> StoredModel | None:
    """The model that ``hf.co/USER/REPO[:TAG]`` names, if its files are in ``cache``.

    Without a tag it is the one of the most bits. Raises the errors of files, and OSError.
    """
    try:
        name = ModelName.parse(text)
    except InvalidModelName:
        return None
    if cache is None or name.host.lower() not in HUB_HOSTS:
        return None
    snapshot = find_snapshot(cache, name)
    return None if snapshot is None else _open(name, snapshot)


def find_snapshot(cache: Path, name: ModelName, commit: str = "") -> Path | None:
    """The folder with the files of a repository at ``commit``, or as they were last seen."""
    folder = cache / f"models--{name.namespace}--{name.model}"
    try:
        commit = commit or (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        commit = ""
    snapshots = folder / "snapshots"
    if commit.isalnum() and (snapshots / commit).is_dir():
        return snapshots / commit
    return None


def _open(name: ModelName, snapshot: Path) -> StoredModel | None:
    files = list(_files(snapshot))
    found = variants(files)
    if not found:
        return None
    if name.tag == DEFAULT_TAG:
        chosen = max(found, key=lambda variant: (variant.bits, variant.size))
    else:
        try:
            chosen = named(found, name.tag)
        except CamaError:  # it may be on the hub
            return None
    model = open_file(name.short, snapshot / chosen.files[0].path)
    eyes = projector(files)
    if eyes is None:
        return model
    return replace(model, projectors=(Path(os.path.realpath(snapshot / eyes.path)),))


def _files(snapshot: Path) -> Iterator[RepoFile]:
    """The GGUF files of a snapshot; a link whose file is gone is none."""
    for number, path in enumerate(sorted(snapshot.rglob("*"))):
        if number == _MAX_FILES:
            return
        if path.name.lower().endswith(".gguf") and path.is_file():
            yield RepoFile(path.relative_to(snapshot).as_posix(), path.stat().st_size)
