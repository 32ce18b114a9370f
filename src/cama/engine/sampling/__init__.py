"""Logits to a token: one pure function per transform, and the sampler that applies them."""
