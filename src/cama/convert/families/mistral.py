"""Mistral 7B, Nemo and Small 24B: to GGUF they are Llamas, whose sliding window nobody applies."""

from cama.convert.families.llama import FAMILY

__all__ = ["FAMILY"]
