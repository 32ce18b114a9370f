"""The decoder that most architectures share: rotary attention, gated MLP, norms before both."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from cama.engine.native.kvcache.layout import Layout
from cama.engine.native.nn.attention import Attention, Mixer
from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.engine.native.nn.layers import Embedding, LayerNorm, Linear, RMSNorm
from cama.engine.native.nn.mlp import MLP, GatedMLP
from cama.engine.native.nn.module import Module, tied
from cama.engine.native.nn.rope import NoRotation, Rotation
from cama.engine.native.nn.step import Place, Step
from cama.ggml import ops
from cama.ggml.tensor import Tensor


class Layer(Module, ABC):
    """One of the blocks that a pass goes through."""

    @abstractmethod
    def __call__(self, x: Tensor, at: Place) -> Tensor:
        """x [n_embd, n_tokens] and what the block adds; in the last one, of the rows of outputs."""


class Block(Layer):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    attn_norm: RMSNorm
    attention: Mixer
    ffn_norm: RMSNorm
    mlp: MLP

    def __call__(self, x: Tensor, at: Place) -> Tensor:
        x = at.wanted(x + self.attention(self.attn_norm(x), at))
        return x + self.mlp(self.ffn_norm(x))


class DenseBlock(Block):
    attention: Attention
    mlp: GatedMLP


class SandwichBlock(Layer):
    """x += norm(attention(norm(x))); x += norm(mlp(norm(x)))."""

    attn_norm: RMSNorm
    attention: Mixer
    post_attention_norm: RMSNorm
    ffn_norm: RMSNorm
    mlp: MLP
    post_ffw_norm: RMSNorm

    def __call__(self, x: Tensor, at: Place) -> Tensor:
        attended = at.wanted(self.attention(self.attn_norm(x), at))
        x = self.post_attention_norm(attended) + at.wanted(x)
        return self.post_ffw_norm(self.mlp(self.ffn_norm(x))) + x


def soft_cap(x: Tensor, cap: float) -> Tensor:
    """cap · tanh(x / cap); 0 is no cap."""
    if not cap:
        return x
    return ops.scale(ops.tanh(ops.scale(x, float(np.float32(1) / np.float32(cap)))), cap)


class Decoder(Module):
    """Embedding, blocks, norm, logits. Subclasses say which config and blocks."""

    chooses_rows_last = False
    """Whether the last block computes all rows, as libllama does in some models: fewer rows would
    take other kernels."""

    config: DecoderConfig
    token_embd: Embedding
    blk: Sequence[Layer]
    output_norm: RMSNorm | LayerNorm
    output: Linear = tied("token_embd")

    def __call__(self, step: Step) -> Tensor:
        """Logits [n_vocab, n_outputs]."""
        return self.logits(self.hidden(step))

    def hidden(self, step: Step) -> Tensor:
        """The last norm's result [n_embd, n_outputs]: what the logits and embeddings come from."""
        x = self.embed(step)
        for block, at in zip(self.blk, self.places(step), strict=True):
            x = block(x, at)
        x = self.output_norm(x)
        return step.wanted(x) if self.chooses_rows_last else x

    def embed(self, step: Step) -> Tensor:
        """What the first block gets: [n_embd, n_tokens]."""
        return self.token_embd(step.tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.output(hidden)

    @cached_property
    def layers(self) -> list[DecoderConfig]:
        """The values of each layer."""
        return [self.config.layer(i) for i in range(self.config.n_layer)]

    @property
    def layouts(self) -> list[Layout]:
        """What each layer keeps."""
        return [c.layout for c in self.layers]

    def places(self, step: Step) -> Iterator[Place]:
        """One for each layer."""
        positions = self.positions(step)
        last = self.layers[-1]
        for c, cache in zip(self.layers, step.caches, strict=True):
            step.enter(c.index)
            yield Place(
                step, cache, self.rotation(c, positions), c is last and not self.chooses_rows_last
            )
        step.enter(None)

    def positions(self, step: Step) -> Tensor:
        """What rotations go by."""
        return step.positions

    def rotation(self, c: DecoderConfig, positions: Tensor) -> Rotation:
        """How the layer of ``c`` rotates queries and keys at ``positions``."""
        if not c.rotates:
            return NoRotation()
        return Rotation(c.rope_settings, positions, self.factors(c))

    def factors(self, c: DecoderConfig) -> Tensor | None:
        """What the layer of ``c`` divides its frequencies by [n_rotated / 2]."""
        return None
