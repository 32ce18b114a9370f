"""Modelfiles: reading, writing, and creating models from them."""
