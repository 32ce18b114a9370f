"""The families that can be converted, by the architecture that ``config.json`` names."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from cama.convert.config import Config
from cama.convert.family import Family
from cama.core.errors import UnsupportedModel

_MODULES: Final[Mapping[str, str]] = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "MixtralForCausalLM": "mixtral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3MoeForCausalLM": "qwen3moe",
    "GemmaForCausalLM": "gemma",
    "Gemma2ForCausalLM": "gemma2",
    "Gemma3ForCausalLM": "gemma3",
    "Gemma3ForConditionalGeneration": "gemma3",
    "Phi3ForCausalLM": "phi3",
    "BertModel": "bert",
    "BertForMaskedLM": "bert",
}
_ADAPTED: Final = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3")


def find_family(root: Config) -> Family:
    """The family of a checkpoint. Raises UnsupportedModel on one that is not here."""
    names = root.texts("architectures")
    name = names[0] if names else ""
    if name not in _MODULES:
        raise UnsupportedModel(f'unsupported architecture "{name[:80]}"')
    return _load(_MODULES[name])


def family_of_gguf(architecture: str) -> Family:
    """The family of a GGUF model that an adapter is for. Raises UnsupportedModel."""
    if architecture not in _ADAPTED:
        raise UnsupportedModel(f'unsupported architecture "{architecture[:80]}" of an adapter')
    return _load(architecture)


def _load(module: str) -> Family:
    family: Family = import_module(f"{__name__}.{module}").FAMILY
    return family
