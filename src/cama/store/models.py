"""A model as the rest of Cama sees it, built from a manifest and its small layers."""

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.core.generation import Adapter
from cama.core.load import Draft
from cama.store.blobs import Blobs
from cama.store.facts import Facts
from cama.store.json_text import decode_object, decode_objects
from cama.store.manifest import Layer, Manifest, MediaType
from cama.store.names import ModelName


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model that can be run.

    ``name`` is the canonical short name with its tag, or for a plain file its path as given;
    ``path`` the GGUF file, and ``parts`` all files of one that is split. ``digest`` is hexadecimal:
    of the manifest, or of a plain file's path, size and time of change. ``template`` is a Go
    template. ``config`` is the config layer.
    """

    name: str
    path: Path
    digest: str
    size: int
    modified_at: datetime
    format: str = "gguf"
    family: str = ""
    families: tuple[str, ...] = ()
    parameter_size: str = ""
    quantization: str = ""
    parent: str = ""
    template: str | None = None
    system: str | None = None
    params: dict[str, Any]
    messages: list[dict[str, Any]]
    licenses: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    projectors: tuple[Path, ...] = ()
    draft: Draft | None = None
    config: Mapping[str, Any]
    parts: tuple[Path, ...] = ()
    is_file: bool = False

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Those that its configuration lists, whatever its files say."""
        return _strings(self.config, "capabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a manifest and its small layers hold; constant for a given manifest."""

    manifest: Manifest
    config: dict[str, Any]
    template: str | None
    system: str | None
    params: dict[str, Any]
    messages: list[dict[str, Any]]
    licenses: tuple[str, ...]


def read_contents(blobs: Blobs, data: bytes, path: str) -> Contents:
    """Check and read a manifest and its small layers. Raises InvalidModelFile and OSError."""
    manifest = Manifest.from_bytes(data, path)

    def last(*kinds: MediaType) -> bytes | None:
        layers = list(manifest.of_type(*kinds))
        return blobs.read(layers[-1]) if layers else None

    params, messages = last(MediaType.PARAMS), last(MediaType.MESSAGES)
    return Contents(
        manifest=manifest,
        config=decode_object(blobs.read(manifest.config), f"the config of {path}"),
        template=_text(last(MediaType.TEMPLATE, MediaType.PROMPT)),
        system=_text(last(MediaType.SYSTEM)),
        params=decode_object(params, f"the parameters of {path}") if params else {},
        messages=_messages(messages, path) if messages else [],
        licenses=tuple(
            blobs.read(layer).decode(errors="replace")
            for layer in manifest.of_type(MediaType.LICENSE)
        ),
    )


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(errors="replace")


def _messages(data: bytes, path: str) -> list[dict[str, Any]]:
    messages = decode_objects(data, f"the messages of {path}")
    for message in messages:
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise InvalidModelFile(
                f"the messages of {path} lack a role or a content", path=path, field="messages"
            )
    return messages


def stored_model(
    name: ModelName, digest: str, mtime: float, has: Contents, blobs: Blobs
) -> StoredModel:
    """The model of a manifest; its large blobs are not looked at.

    Raises UnsupportedModel when it has no GGUF file.
    """
    weights, *others = _weights(name, has)
    manifest, family = has.manifest, _string(has.config, "model_family")
    return StoredModel(
        name=name.short,
        path=blobs.path(weights.digest),
        parts=tuple(blobs.path(layer.digest) for layer in (weights, *others) if others),
        digest=digest,
        size=manifest.size,
        modified_at=_local(mtime),
        format=_string(has.config, "model_format") or "gguf",
        family=family,
        families=_strings(has.config, "model_families") or ((family,) if family else ()),
        parameter_size=_string(has.config, "model_type"),
        quantization=_string(has.config, "file_type"),
        parent=weights.parent,
        template=has.template,
        system=has.system,
        params=copy.deepcopy(has.params),
        messages=copy.deepcopy(has.messages),
        licenses=has.licenses,
        adapters=tuple(
            Adapter(path=blobs.path(layer.digest), digest=layer.digest)
            for layer in manifest.of_type(MediaType.ADAPTER)
        ),
        projectors=_paths(manifest, MediaType.PROJECTOR, blobs),
        draft=_draft(manifest, blobs),
        config=copy.deepcopy(has.config),
    )


def file_model(
    name: str, parts: Sequence[Path], status: os.stat_result, facts: Facts
) -> StoredModel:
    """The model that a plain GGUF file is, or several that are its ``parts``; ``status`` is that
    of the first. Raises UnsupportedModel on an adapter or projector, and OSError."""
    path, is_split = parts[0], len(parts) > 1
    if facts.kind != "model":
        raise UnsupportedModel(f"{path} is no model but {facts.noun}", path=str(path))
    size = sum(part.stat().st_size for part in parts) if is_split else status.st_size
    identity = f"{path}\0{size}\0{status.st_mtime_ns}"
    return StoredModel(
        name=name,
        path=path,
        parts=tuple(parts) if is_split else (),
        digest=hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest(),
        size=size,
        modified_at=_local(status.st_mtime_ns / 1e9),
        family=facts.architecture,
        families=(facts.architecture,),
        parameter_size=facts.parameter_size,
        quantization=facts.quantization,
        params=dict(facts.sampling),
        messages=[],
        config={},
        is_file=True,
    )


def _weights(name: ModelName, has: Contents) -> list[Layer]:
    """The layer of the weights, or those of all their parts in order."""
    layers = list(has.manifest.of_type(MediaType.MODEL))
    if not layers:
        kind = "runs on another machine" if has.config.get("remote_host") else "has no GGUF file"
        raise UnsupportedModel(f"{name.short} {kind}, so it cannot run here", name=name.short)
    names = [part_layer_name(number, len(layers)) for number in range(len(layers))]
    are_parts = len(layers) > 1 and [layer.name for layer in layers] == names
    return layers if are_parts else layers[-1:]


def part_layer_name(number: int, count: int) -> str:
    """The name of the layer with part ``number``, from 0, of split weights."""
    return f"{number + 1:05d}-of-{count:05d}"


def _paths(manifest: Manifest, kind: MediaType, blobs: Blobs) -> tuple[Path, ...]:
    return tuple(blobs.path(layer.digest) for layer in manifest.of_type(kind))


def _draft(manifest: Manifest, blobs: Blobs) -> Draft | None:
    layers = list(manifest.of_type(MediaType.DRAFT))
    if not layers:
        return None
    digest = layers[-1].digest
    return Draft(path=blobs.path(digest), digest=digest.removeprefix("sha256:"))


def _string(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


def _strings(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = config.get(key)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()
