"""Creating a model: from a Modelfile, or a recipe, to blobs and a manifest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cama.core.errors import InvalidModelFile, InvalidModelfile, Unsupported, UnsupportedModel
from cama.modelfile.config import make_config, model_of
from cama.modelfile.grouping import grouped
from cama.modelfile.layers import Layers, add_texts
from cama.modelfile.parser import Modelfile
from cama.modelfile.recipe import Recipe, read_recipe
from cama.modelfile.weights import Status, Weights, Workshop, file_type
from cama.runner.jobs import Jobs
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

_TRIES = 10
"""How often a base model is looked at that others change just then."""


@dataclass(frozen=True, slots=True)
class Base:
    """The existing model that a new one starts from."""

    name: str
    model: StoredModel
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a new model is made of. ``base`` is whose layers it inherits, but for its weights
    where ``files`` have some."""

    base: Base | None
    files: tuple[Weights, ...]
    adapters: tuple[Weights, ...]
    drafts: tuple[Weights, ...]


def create_model(
    store: Store,
    name: str,
    modelfile: Modelfile,
    folder: Path,
    status: Status,
    *,
    quantize: str = "",
    jobs: Jobs | None = None,
) -> None:
    """Create ``name`` from a Modelfile whose paths are relative to ``folder``.

    Everything is checked before anything is written, and a failure leaves the store as it was.
    Raises the InvalidInput kinds, ModelNotFound, InvalidModelFile, UnsupportedModel, StoreError,
    and of its jobs RunnerError and Cancelled.
    """
    ModelName.parse(name)
    recipe = read_recipe(modelfile, folder, lambda text: status(f"warning: {text}"))
    create_from_recipe(store, name, replace(recipe, quantize=quantize), status, jobs or Jobs())


def create_from_recipe(
    store: Store, name: str, recipe: Recipe, status: Status, jobs: Jobs | None = None
) -> None:
    """As :func:`create_model`, from a recipe."""
    ModelName.parse(name)
    wanted = file_type(recipe.quantize) if recipe.quantize else None
    if recipe.template:
        OllamaTemplate(recipe.template)
    with storing(store.root), store.staging() as staging:
        base, named_files = _resolve(store, staging, recipe.models)
        workshop = Workshop(staging, jobs or Jobs(), status, wanted)
        parts = _open(workshop, recipe, base, named_files)
        if wanted is not None:
            parts = _quantized(workshop, parts)
        _publish(store, name, recipe, parts, _Desk(staging, workshop, status))
    status("success")


_BUILT_IN = {"gemma4": ("gemma4", "<turn|>")}
"""Architectures with their renderer, whose parser has the same name, and its stop string."""


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where a new model is put together."""

    staging: Staging
    workshop: Workshop
    status: Status


def _publish(store: Store, name: str, recipe: Recipe, parts: Parts, desk: _Desk) -> None:
    layers = _weights_layers(parts, desk)
    base = parts.base
    if base is None:
        recipe = _completed(recipe, _require_model(parts.files).facts, desk.status)
    add_texts(layers, recipe, base.model.params if base else {})
    config = make_config(recipe, base.model if base else None, parts.files, layers.layers)
    blob = layers.stage(encode_json(config), MediaType.CONFIG)
    desk.status("writing manifest")
    store.publish(name, Manifest(config=blob, layers=tuple(layers.layers)), desk.staging)


def _weights_layers(parts: Parts, desk: _Desk) -> Layers:
    layers = Layers(desk.staging, desk.status)
    replaced = {MediaType.MODEL} if model_of(parts.files) else set()
    if parts.drafts:
        replaced.add(MediaType.DRAFT)
    own, added = parts.files, tuple[Weights, ...]()
    if parts.base is not None:
        own = tuple(weights for weights in parts.files if weights.facts.kind == "model")
        added = tuple(weights for weights in parts.files if weights.facts.kind != "model")
    for weights in own:
        layers.add_weights(weights, desk.workshop)
    for layer in parts.base.layers if parts.base else ():
        if layer.media_type not in replaced:
            layers.inherit(layer, parts.base.name if parts.base else "")
    for weights in (*added, *parts.adapters):
        layers.add_weights(weights, desk.workshop)
    for weights in parts.drafts:
        layers.add_weights(weights, desk.workshop, MediaType.DRAFT)
    return layers


def _completed(recipe: Recipe, facts: Facts, status: Status) -> Recipe:
    """``recipe`` with what the file itself says where that says nothing: the parameters that its
    makers recommend, and the template and stop strings of its format, if that is a known one; of
    some architectures the renderer and parser instead."""
    params = {**facts.sampling, **recipe.params}
    if facts.architecture in _BUILT_IN and not recipe.template:
        name, stop = _BUILT_IN[facts.architecture]
        return replace(
            recipe,
            renderer=recipe.renderer or name,
            parser=recipe.parser or name,
            params={"stop": [stop], **params},
        )
    known = recognized(facts.chat_template) if facts.chat_template else None
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


def _resolve(
    store: Store, staging: Staging, names: Sequence[str]
) -> tuple[Base | None, list[Path]]:
    """The base model, whose blobs now stay, and the plain files among what FROM named."""
    bases: list[Base] = []
    files: list[Path] = []
    for name in names:
        model = store.get(name)
        if model.is_file:
            files += model.parts or (model.path,)
        else:
            bases.append(_held(store, staging, name))
    if len(bases) > 1:
        raise InvalidModelfile("only one FROM can name a model; the others must be files")
    return (bases[0] if bases else None), files


def _held(store: Store, staging: Staging, name: str) -> Base:
    """A model whose blobs nobody removes until ``staging`` is left, whoever deletes the model."""
    for _ in range(_TRIES):
        short, manifest = store.manifest(name)
        found = [staging.find(layer.digest, layer.size) for layer in manifest.layers]
        model = store.get(name)
        if None not in found and store.manifest(name)[1] == manifest:
            return Base(short.short, model, manifest.layers)
    raise InvalidModelFile(
        f"{name} lacks a blob, or is being changed all the time", path=name, field="layers"
    )


def _open(
    workshop: Workshop, recipe: Recipe, base: Base | None, named_files: Sequence[Path]
) -> Parts:
    """Open and check everything that the new model is made of."""
    files = tuple(workshop.open(*group) for group in grouped((*named_files, *recipe.files)))
    n_models = sum(weights.facts.kind == "model" for weights in files) + (base is not None)
    if n_models > 1:
        raise UnsupportedModel("a model can have only one file of weights")
    if n_models == 0:
        raise InvalidModelfile("no FROM names a model: there are only adapters and projectors")
    path = base.model.path if base else _require_model(files).path
    adapters = tuple(workshop.open(source, base=path) for source in recipe.adapters)
    for weights in adapters:
        _check_adapter(weights, read_facts(path).architecture)
    drafts = tuple(workshop.open(*group) for group in grouped(recipe.drafts))
    _check_drafts(drafts)
    return Parts(base=base, files=files, adapters=adapters, drafts=drafts)


def _quantized(workshop: Workshop, parts: Parts) -> Parts:
    files = parts.files
    if parts.base is not None:
        model = parts.base.model
        facts = read_facts(model.path, *model.parts[1:])
        inherited = Weights(model.path, facts, parts.base.name, parts=model.parts)
        made = workshop.quantized(inherited)
        files = (made, *files) if made is not inherited else files
    else:
        files = tuple(workshop.quantized(weights) for weights in files)
    return replace(parts, files=files)


def _require_model(files: Sequence[Weights]) -> Weights:
    """The file that is the model: when files were opened it was made sure that one is."""
    return next(weights for weights in files if weights.facts.kind == "model")


def _check_adapter(weights: Weights, architecture: str) -> None:
    if weights.facts.kind != "adapter":
        raise InvalidModelfile(
            f"{weights.name} is no adapter but {weights.facts.noun}", path=str(weights.path)
        )
    if weights.facts.architecture != architecture:
        raise InvalidModelfile(
            f"{weights.name} is an adapter for {weights.facts.architecture}, "
            f"but the model is {architecture}",
            path=str(weights.path),
        )


def _check_drafts(drafts: Sequence[Weights]) -> None:
    if len(drafts) > 1:
        raise InvalidModelfile("only one DRAFT model is supported")
    for weights in drafts:
        if weights.parts:
            raise Unsupported("a DRAFT model cannot be split over several files")
        if weights.facts.kind != "model":
            raise InvalidModelfile(
                f"DRAFT {weights.name} is no model but {weights.facts.noun}",
                path=str(weights.path),
            )
