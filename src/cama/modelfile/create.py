"""Creating a model: from a Modelfile, or a recipe, to blobs and a manifest."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cama.core.errors import InvalidModelfile, UnsupportedModel
from cama.modelfile.parser import Modelfile
from cama.modelfile.recipe import Recipe, read_recipe
from cama.store.facts import Facts, read_facts
from cama.store.files import storing
from cama.store.json_text import encode_json
from cama.store.manifest import Layer, Manifest, MediaType
from cama.store.models import StoredModel
from cama.store.names import ModelName
from cama.store.staging import Staging
from cama.store.store import Store
from cama.templates.formats import FORMATS
from cama.templates.ollama import OllamaTemplate
from cama.templates.recognition import recognized

Status = Callable[[str], None]

_MEDIA_TYPES: Final = {
    "model": MediaType.MODEL,
    "adapter": MediaType.ADAPTER,
    "projector": MediaType.PROJECTOR,
}


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF file that was opened and found sound."""

    path: Path
    facts: Facts


@dataclass(frozen=True, slots=True)
class Base:
    """The existing model that a new one starts from."""

    name: str
    model: StoredModel
    layers: tuple[Layer, ...]


def create_model(
    store: Store, name: str, modelfile: Modelfile, folder: Path, status: Status
) -> None:
    """Create ``name`` from a Modelfile whose paths are relative to ``folder``.

    Everything is checked before anything is written, and a failure leaves the store as it was.
    Raises the InvalidInput kinds, ModelNotFound, InvalidModelFile, UnsupportedModel, StoreError.
    """
    ModelName.parse(name)
    recipe = read_recipe(modelfile, folder, lambda text: status(f"warning: {text}"))
    create_from_recipe(store, name, recipe, status)


def create_from_recipe(store: Store, name: str, recipe: Recipe, status: Status) -> None:
    """As :func:`create_model`, from a recipe."""
    ModelName.parse(name)
    if recipe.template:
        OllamaTemplate(recipe.template)
    base, named_files = _resolve(store, recipe.models)
    files = [_open(path, status) for path in (*named_files, *recipe.files)]
    adapters = [_open_adapter(path, status) for path in recipe.adapters]
    _check_parts(base, files)
    if adapters:
        _check_adapters(_architecture(base, files), adapters)
    with storing(store.root), store.staging() as staging:
        layers = _Layers(staging, status, base)
        for weights in (*files, *adapters):
            layers.add_file(weights)
        if base is None:
            recipe = _completed(recipe, _model_of(files), status)
        _add_texts(layers, recipe, base.model.params if base else {})
        config = _config(recipe, base, files, layers.layers)
        blob = layers.stage(encode_json(config), MediaType.CONFIG)
        status("writing manifest")
        store.publish(name, Manifest(config=blob, layers=tuple(layers.layers)), staging)
    status("success")


def _completed(recipe: Recipe, facts: Facts, status: Status) -> Recipe:
    """``recipe`` with what the file itself says where that says nothing: the parameters that its
    makers recommend, and the template and stop strings of its format, if that is a known one."""
    known = recognized(facts.chat_template) if facts.chat_template else None
    params = {**facts.sampling, **recipe.params}
    if known is None or recipe.template or recipe.renderer:
        return replace(recipe, params=params)
    form = FORMATS[known.name]
    status(
        f"using {'' if known.is_exact else 'stop strings of '}autodetected template {known.name}"
    )
    return replace(
        recipe,
        # One that writes other white space would mislead whoever runs the model with it.
        template=form.template if known.is_exact else "",
        params={"stop": list(form.stop), **params},
    )


def _resolve(store: Store, names: Sequence[str]) -> tuple[Base | None, list[Path]]:
    """The base model, and the plain files among what FROM named."""
    bases: list[Base] = []
    files: list[Path] = []
    for name in names:
        model = store.get(name)
        if model.is_file:
            files.append(model.path)
        else:
            short, manifest = store.manifest(name)
            bases.append(Base(short.short, model, manifest.layers))
    if len(bases) > 1:
        raise InvalidModelfile("only one FROM can name a model; the others must be files")
    return (bases[0] if bases else None), files


def _open(path: Path, status: Status) -> Weights:
    status("parsing GGUF")
    return Weights(path, read_facts(path))


def _open_adapter(path: Path, status: Status) -> Weights:
    weights = _open(path, status)
    if weights.facts.kind != "adapter":
        raise InvalidModelfile(f"{path} is no adapter but {weights.facts.noun}", path=str(path))
    return weights


def _check_parts(base: Base | None, files: Sequence[Weights]) -> None:
    n_models = sum(weights.facts.kind == "model" for weights in files) + (base is not None)
    if n_models > 1:
        raise UnsupportedModel("a model can have only one file of weights")
    if n_models == 0:
        raise InvalidModelfile("no FROM names a model: there are only adapters and projectors")


def _architecture(base: Base | None, files: Sequence[Weights]) -> str:
    return read_facts(base.model.path).architecture if base else _model_of(files).architecture


def _check_adapters(architecture: str, adapters: Sequence[Weights]) -> None:
    for weights in adapters:
        if weights.facts.architecture != architecture:
            raise InvalidModelfile(
                f"{weights.path} is an adapter for {weights.facts.architecture}, "
                f"but the model is {architecture}",
                path=str(weights.path),
            )


class _Layers:
    """The layers of the new model in order; each new one is staged and reported."""

    def __init__(self, staging: Staging, status: Status, base: Base | None) -> None:
        self._staging = staging
        self._status = status
        self.layers: list[Layer] = []
        for layer in base.layers if base else ():
            status(f"using existing layer {layer.digest}")
            self.layers.append(_inherited(layer, base.name if base else ""))

    def add_file(self, weights: Weights) -> None:
        staged = self._staging.add_file(weights.path)
        self._report(staged.digest, existed=staged.existed)
        media_type = _MEDIA_TYPES[weights.facts.kind]
        self.layers.append(staged.layer(media_type, parent=weights.path.name))

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


def _inherited(layer: Layer, base: str) -> Layer:
    return Layer(
        media_type=layer.media_type,
        digest=layer.digest,
        size=layer.size,
        parent=base,
        name=layer.name,
    )


def _add_texts(layers: _Layers, recipe: Recipe, given: Mapping[str, Any]) -> None:
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


def _config(
    recipe: Recipe, base: Base | None, files: Sequence[Weights], layers: Iterable[Layer]
) -> Mapping[str, Any]:
    """The config layer: the base's facts and extras, or those of the files."""
    config = dict(base.model.config) if base else _facts_of(files)
    families = (*(base.model.families if base else ()), *_families(files))
    config["model_families"] = list(dict.fromkeys(families))
    extras = {
        "renderer": recipe.renderer,
        "parser": recipe.parser,
        "requires": recipe.requires,
    }
    constant = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }
    kept = {key: value for key, value in config.items() if key not in constant}
    return kept | {key: text for key, text in extras.items() if text} | constant


def _facts_of(files: Sequence[Weights]) -> dict[str, Any]:
    facts = _model_of(files)
    return {
        "model_format": "gguf",
        "model_family": facts.architecture,
        "model_families": [],
        "model_type": facts.parameter_size,
        "file_type": facts.quantization,
    }


def _model_of(files: Sequence[Weights]) -> Facts:
    return next(weights.facts for weights in files if weights.facts.kind == "model")


def _families(files: Sequence[Weights]) -> list[str]:
    """Architectures of models and projectors, the model's first."""
    ordered = sorted(files, key=lambda weights: weights.facts.kind != "model")
    return [w.facts.architecture for w in ordered if w.facts.kind != "adapter"]
