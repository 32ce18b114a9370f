"""One file per architecture; the table names them without importing them."""

from importlib import import_module

from cama.core.errors import UnsupportedModel
from cama.engine.native import plugins
from cama.engine.native.plugins import Definition

_DEFINITIONS = {
    "bert": "bert:Bert",
    "cohere2": "cohere2:Cohere2",
    "command-r": "command_r:CommandR",
    "deepseek2": "deepseek2:DeepSeek2",
    "gemma": "gemma:Gemma",
    "gemma-embedding": "gemma_embedding:GemmaEmbedding",
    "gemma2": "gemma2:Gemma2",
    "gemma3": "gemma3:Gemma3",
    "gemma3n": "gemma3n:Gemma3n",
    "gemma4": "gemma4:Gemma4",
    "glm4": "glm4:Glm4",
    "glm4moe": "glm4moe:Glm4MoE",
    "gpt-oss": "gpt_oss:GptOss",
    "granite": "granite:Granite",
    "granitehybrid": "granitehybrid:GraniteHybrid",
    "granitemoe": "granite:Granite",
    "lfm2": "lfm2:Lfm2",
    "lfm2moe": "lfm2:Lfm2",
    "llama": "llama:Llama",
    "llama4": "llama4:Llama4",
    "mistral3": "mistral3:Mistral3",
    "nemotron_h": "nemotron_h:NemotronH",
    "nemotron_h_moe": "nemotron_h:NemotronH",
    "nomic-bert": "nomic_bert:NomicBert",
    "nomic-bert-moe": "nomic_bert:NomicBert",
    "olmo2": "olmo2:Olmo2",
    "phi3": "phi3:Phi3",
    "qwen2": "qwen2:Qwen2",
    "qwen2moe": "qwen2moe:Qwen2MoE",
    "qwen2vl": "qwen2vl:Qwen2VL",
    "qwen3": "qwen3:Qwen3",
    "qwen35": "qwen35:Qwen35",
    "qwen35moe": "qwen35:Qwen35",
    "qwen3moe": "qwen3moe:Qwen3MoE",
    "qwen3next": "qwen3next:Qwen3Next",
    "qwen3vl": "qwen3vl:Qwen3VL",
    "qwen3vlmoe": "qwen3vl:Qwen3VL",
}


def find(architecture: str) -> Definition:
    """The definition of an architecture, ours or that of an installed package.

    Raises UnsupportedModel when there is none, or when the package that has it is broken, and
    PluginConflict when there are two.
    """
    plugin = plugins.find(architecture, is_ours=architecture in _DEFINITIONS)
    if plugin is not None:
        return plugin
    target = _DEFINITIONS.get(architecture)
    if target is None:
        raise UnsupportedModel(f"the native engine has no definition of {architecture!r}")
    module, name = target.split(":")
    definition: Definition = getattr(import_module(f"{__name__}.{module}"), name)
    return definition
