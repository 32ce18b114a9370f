"""Safetensors folders, as Hugging Face has them, to GGUF files."""
