"""Typed binding of the libggml that llama-cpp-python ships: tensors, graphs, devices."""
