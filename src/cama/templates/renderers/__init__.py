"""Prompts without a template: renderers that a model's configuration names."""
