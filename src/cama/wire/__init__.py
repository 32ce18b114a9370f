"""Requests and replies of the HTTP API as plain data: Ollama's field names, types and JSON."""
