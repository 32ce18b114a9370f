"""The native engine: model definitions in Python over ggml graphs, weights mapped, one KV pool."""
