"""The layers of a new model: those that it inherits, its files and its texts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cama.modelfile.recipe import Recipe
from cama.modelfile.weights import Status, Weights, Workshop
from cama.store.digests import find_digest
from cama.store.json_text import encode_json
from cama.store.manifest import Layer, MediaType
from cama.store.models import part_layer_name
from cama.store.staging import Staging

_MEDIA_TYPES: Final = {
    "model": MediaType.MODEL,
    "adapter": MediaType.ADAPTER,
    "projector": MediaType.PROJECTOR,
}


class Layers:
    """The layers of the new model in order; each new one is staged and reported."""

    def __init__(self, staging: Staging, status: Status) -> None:
        self._staging = staging
        self._status = status
        self.layers: list[Layer] = []

    def inherit(self, layer: Layer, base: str) -> None:
        """Take over a layer of the model called ``base``."""
        self._status(f"using existing layer {layer.digest}")
        self.layers.append(
            Layer(
                media_type=layer.media_type,
                digest=layer.digest,
                size=layer.size,
                parent=base,
                name=layer.name,
            )
        )

    def add_weights(
        self, weights: Weights, workshop: Workshop, media_type: MediaType | None = None
    ) -> None:
        kind = media_type or _MEDIA_TYPES[weights.facts.kind]
        blobs = workshop.stage(weights)
        for number, staged in enumerate(blobs):
            self._report(staged.digest, existed=staged.existed)
            # The name of a blob says nothing of where it is from.
            parent = "" if find_digest(weights.name) else weights.name
            layer = staged.layer(kind, parent=parent)
            name = part_layer_name(number, len(blobs)) if len(blobs) > 1 else ""
            self.layers.append(replace(layer, name=name))

    def add(self, data: bytes, media_type: MediaType) -> None:
        self.layers.append(self.stage(data, media_type))

    def replace(self, data: bytes, *media_types: MediaType) -> None:
        """Add a layer of the first type instead of those of any of the types."""
        self.layers = [layer for layer in self.layers if layer.media_type not in media_types]
        self.add(data, media_types[0])

    def stage(self, data: bytes, media_type: MediaType) -> Layer:
        staged = self._staging.add_bytes(data)
        self._report(staged.digest, existed=staged.existed)
        return staged.layer(media_type)

    def _report(self, digest: str, *, existed: bool) -> None:
        self._status(f"{'using existing' if existed else 'creating new'} layer {digest}")


def add_texts(layers: Layers, recipe: Recipe, given: Mapping[str, Any]) -> None:
    """``given`` are the parameters of the base."""
    if recipe.template:
        layers.replace(_encode(recipe.template), MediaType.TEMPLATE, MediaType.PROMPT)
    if recipe.system:
        layers.replace(_encode(recipe.system), MediaType.SYSTEM)
    for text in recipe.licenses:
        layers.add(_encode(text), MediaType.LICENSE)
    params = dict(given) | dict(recipe.params)
    if params:
        layers.replace(encode_json(params, sort=True), MediaType.PARAMS)
    if recipe.messages:
        layers.replace(encode_json(recipe.messages), MediaType.MESSAGES)


def _encode(text: str) -> bytes:
    return text.encode(errors="replace")
