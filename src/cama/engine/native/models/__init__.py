"""One file per architecture; the table names them without importing them."""

from importlib import import_module

from cama.core.errors import UnsupportedModel
from cama.engine.native.nn import Decoder

_DEFINITIONS = {
    "llama": "llama:Llama",
    "qwen2": "qwen2:Qwen2",
    "qwen3": "qwen3:Qwen3",
}


def find(architecture: str) -> type[Decoder]:
    """The definition of an architecture. Raises UnsupportedModel when there is none."""
    target = _DEFINITIONS.get(architecture)
    if target is None:
        raise UnsupportedModel(f"the native engine has no definition of {architecture!r}")
    module, name = target.split(":")
    definition: type[Decoder] = getattr(import_module(f"{__name__}.{module}"), name)
    return definition
