"""Errors, settings and value types that every other part shares; imports nothing from cama."""
