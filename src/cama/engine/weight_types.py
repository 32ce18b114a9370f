"""Which types of a file are those of weights."""

from typing import Final

from cama.gguf import GGMLType

NO_WEIGHTS: Final = frozenset(
    GGMLType[name] for name in ("Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64")
)
"""Types of activations and indices. ggml would not refuse to multiply with them, but crash."""
