"""The model store: names, manifests and blobs on disk, and plain GGUF files in place."""
