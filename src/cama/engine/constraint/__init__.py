"""Answers of a given form: JSON, a JSON Schema, a regular expression or a grammar."""
