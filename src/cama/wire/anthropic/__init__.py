"""Anthropic's dialect: pure functions from its requests to ours, from our answers to replies."""
