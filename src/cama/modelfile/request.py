"""From a recipe with files of this machine to the request that a server elsewhere understands."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cama.modelfile.recipe import Recipe
from cama.modelfile.sources import Checkpoint, Source

Send = Callable[[Path], str]
"""Leaves a file with the server and returns its digest."""


def create_request(name: str, recipe: Recipe, send: Send) -> dict[str, Any]:
    """The body of /api/create; ``send`` is called for each file."""
    body = {
        "model": name,
        "from": recipe.models[0] if recipe.models else "",
        "files": _digests(recipe.files, send),
        "adapters": _digests(recipe.adapters, send),
        "draft_files": _digests(recipe.drafts, send),
        "template": recipe.template,
        "system": recipe.system,
        "renderer": recipe.renderer,
        "parser": recipe.parser,
        "requires": recipe.requires,
        "license": list(recipe.licenses),
        "parameters": dict(recipe.params),
        "messages": list(recipe.messages),
        "quantize": recipe.quantize,
    }
    return {key: value for key, value in body.items() if value}


def _digests(sources: Sequence[Source], send: Send) -> Mapping[str, str]:
    """Digests by name; files of the same name in several folders get a number in front."""
    digests: dict[str, str] = {}
    for source in sources:
        files = source.files if isinstance(source, Checkpoint) else {source.name: source}
        for name, path in files.items():
            free = name if name not in digests else f"{len(digests)}-{name}"
            digests[free] = send(path)
    return digests
