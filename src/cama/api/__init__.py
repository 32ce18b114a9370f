"""The HTTP API: Ollama's routes over the store and the scheduler."""
