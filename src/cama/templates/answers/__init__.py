"""Answers taken apart: the text that a model generates into text, thoughts and calls of tools."""
