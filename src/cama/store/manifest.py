"""A model's manifest: which blobs it is made of, and what each of them is."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cama.core.errors import InvalidModelFile
from cama.store.digests import find_digest
from cama.store.json_text import decode_object, encode_json

MANIFEST_LIMIT = 4 << 20
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"

_PREFIX = "application/vnd.ollama.image."


class MediaType(StrEnum):
    """The kinds of layers that Cama reads; others are kept and ignored."""

    CONFIG = "application/vnd.docker.container.image.v1+json"
    MODEL = f"{_PREFIX}model"
    PROJECTOR = f"{_PREFIX}projector"
    ADAPTER = f"{_PREFIX}adapter"
    DRAFT = f"{_PREFIX}draft"
    TEMPLATE = f"{_PREFIX}template"
    PROMPT = f"{_PREFIX}prompt"  # the older name of TEMPLATE
    SYSTEM = f"{_PREFIX}system"
    PARAMS = f"{_PREFIX}params"
    MESSAGES = f"{_PREFIX}messages"
    LICENSE = f"{_PREFIX}license"


LARGE = (MediaType.MODEL, MediaType.PROJECTOR, MediaType.ADAPTER, MediaType.DRAFT)
"""GGUF files, which are never read as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One blob of a model. ``parent`` is the model or file it came from, ``name`` its own path."""

    media_type: str
    digest: str
    size: int
    parent: str = ""
    name: str = ""

    def to_json(self) -> dict[str, Any]:
        data = {"mediaType": str(self.media_type), "digest": self.digest, "size": self.size}
        optional = {"from": self.parent, "name": self.name}
        return data | {key: text for key, text in optional.items() if text}

    @classmethod
    def from_json(cls, data: Any, path: str) -> "Layer":
        """Check and read one layer object. Raises InvalidModelFile."""
        if not isinstance(data, dict):
            raise _invalid(path, "layers", "a layer is not a JSON object")
        size = data.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise _invalid(path, "size", "a layer has no valid size")
        digest = find_digest(_text(data, "digest", path))
        if digest is None:
            raise _invalid(path, "digest", "a layer has no valid digest")
        return cls(
            media_type=_text(data, "mediaType", path),
            digest=digest,
            size=size,
            parent=_text(data, "from", path),
            name=_text(data, "name", path),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    config: Layer
    layers: tuple[Layer, ...]

    @property
    def blobs(self) -> tuple[Layer, ...]:
        """Every blob the model needs."""
        return (*self.layers, self.config)

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(layer.digest for layer in self.blobs)

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.blobs)

    def of_type(self, *kinds: MediaType) -> Iterator[Layer]:
        return (layer for layer in self.layers if layer.media_type in kinds)

    def to_bytes(self) -> bytes:
        return encode_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": self.config.to_json(),
                "layers": [layer.to_json() for layer in self.layers],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> "Manifest":
        """Check and read a manifest; ``path`` is for messages. Raises InvalidModelFile."""
        content = decode_object(data, path)
        layers = content.get("layers")
        if not isinstance(layers, list):
            raise _invalid(path, "layers", "there is no list of layers")
        return cls(
            config=Layer.from_json(content.get("config"), path),
            layers=tuple(Layer.from_json(layer, path) for layer in layers),
        )


def _text(data: dict[str, Any], key: str, path: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise _invalid(path, key, f"{key} of a layer is not a string")
    return value


def _invalid(path: str, field: str, reason: str) -> InvalidModelFile:
    return InvalidModelFile(f"{path} is not a valid manifest: {reason}", path=path, field=field)
