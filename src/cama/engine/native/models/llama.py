"""Llama 1-3, Mistral, SmolLM, Yi, DeepSeek-LLM and others of the same shape."""

from cama.engine.native import nn
from cama.ggml.tensor import Tensor


class Llama(nn.Decoder):
    """Llama 3 scales each rotary frequency by a factor of its own, kept in ``rope_freqs``."""

    config: nn.DecoderConfig
    rope_freqs: nn.Vector | None

    def rotation(self, positions: Tensor) -> nn.Rotation:
        c = self.config
        settings = c.rope.settings(c.head_dim, c.rope_style, c.rope_base)
        return nn.Rotation(settings, positions, self.rope_freqs)
