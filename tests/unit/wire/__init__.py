"""Requests and replies as plain data."""
