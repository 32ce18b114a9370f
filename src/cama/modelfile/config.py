"""The config layer of a new model: what is known of it without opening its files."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cama.modelfile.recipe import Recipe
from cama.modelfile.weights import Weights
from cama.store.facts import Facts
from cama.store.manifest import Layer
from cama.store.models import StoredModel


def make_config(
    recipe: Recipe,
    base: StoredModel | None,
    files: Sequence[Weights],
    layers: Iterable[Layer],
) -> Mapping[str, Any]:
    """The facts and extras of ``base``, or of the files; a file of weights counts before it."""
    config = dict(base.config) if base else {}
    config |= _facts_of(files)
    families = (*(base.families if base else ()), *_families(files))
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
    given = {key: text for key, text in extras.items() if text}
    return kept | given | dict(recipe.info) | constant


def model_of(files: Iterable[Weights]) -> Facts | None:
    """The facts of the file that is the model, if one is."""
    return next((weights.facts for weights in files if weights.facts.kind == "model"), None)


def _facts_of(files: Iterable[Weights]) -> dict[str, Any]:
    facts = model_of(files)
    if facts is None:
        return {}
    return {
        "model_format": "gguf",
        "model_family": facts.architecture,
        "model_families": [],
        "model_type": facts.parameter_size,
        "file_type": facts.quantization,
    }


def _families(files: Sequence[Weights]) -> list[str]:
    """Architectures of models and projectors, the model's first."""
    ordered = sorted(files, key=lambda weights: weights.facts.kind != "model")
    return [w.facts.architecture for w in ordered if w.facts.kind != "adapter"]
