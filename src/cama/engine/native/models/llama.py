"""Llama 1-3, Mistral, Mixtral, SmolLM, Yi, DeepSeek-LLM and others of the same shape."""

from collections.abc import Sequence

from cama.engine.native import nn
from cama.ggml.tensor import Tensor


class Block(nn.Block):
    attention: nn.Attention
    mlp: nn.GatedMLP | nn.MoE


class Llama(nn.Decoder):
    """Llama 3 scales each rotary frequency by a factor of its own, kept in ``rope_freqs``."""

    config: nn.MoEConfig
    blk: Sequence[Block]
    rope: nn.RopeFactors

    def factors(self, c: nn.DecoderConfig) -> Tensor | None:
        return self.rope.choose(c)
