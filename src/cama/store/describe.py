"""What a model's files say about it, in the forms that answers about models use."""

from typing import Any

from cama.core.errors import InvalidModelFile
from cama.gguf import GGUFFile

_HIDDEN = frozenset({"general.name", "tokenizer.chat_template"})


def parameter_size(count: int) -> str:
    """A number of parameters as users read it: ``8.0B``, ``125M``, ``260K``."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f}B" if count % 1_000_000_000 else f"{count // 1_000_000_000}B"
    if count >= 1_000_000:
        return f"{count / 1e6:.2f}M" if count % 1_000_000 else f"{count // 1_000_000}M"
    if count >= 1_000:
        return f"{count / 1e3:.0f}K"
    return str(count)


def model_info(gguf: GGUFFile, *, arrays: bool = False) -> dict[str, Any]:
    """Metadata by key; an array is None, and not decoded, unless ``arrays``."""
    shown = (key for key in gguf.metadata if key not in _HIDDEN)
    info = {key: gguf.get(key) if arrays or not _is_array(gguf, key) else None for key in shown}
    return info | {"general.parameter_count": gguf.parameter_count}


def tensor_list(gguf: GGUFFile) -> list[dict[str, Any]]:
    """Name, type and shape of every tensor, in the order of the file."""
    return [
        {"name": tensor.name, "type": tensor.type.name, "shape": list(tensor.shape)}
        for tensor in gguf.tensors.values()
    ]


def _is_array(gguf: GGUFFile, key: str) -> bool:
    try:
        gguf.array_length(key)
    except InvalidModelFile:
        return False
    return True
