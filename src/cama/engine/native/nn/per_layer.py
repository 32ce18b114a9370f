"""Inputs that every layer gets of its own, from the token and from its embedding."""

import math

import numpy as np

from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.engine.native.nn.layers import Embedding, Linear, RMSNorm
from cama.engine.native.nn.module import Group
from cama.engine.native.nn.step import Step
from cama.ggml import ops
from cama.ggml.ops.checks import check
from cama.ggml.tensor import Tensor

_HALF = 1 / math.sqrt(2)


class PerLayerInputs(Group):
    config: DecoderConfig
    per_layer_token_embd: Embedding
    per_layer_model_proj: Linear
    per_layer_proj_norm: RMSNorm

    def __call__(self, step: Step, x: Tensor) -> list[Tensor]:
        """From scaled embeddings x [n_embd, n_tokens]: [n, n_tokens] for each layer."""
        n_layer, n_tokens = self.config.n_layer, x.shape[1]
        table = self.per_layer_token_embd.weight
        check(table.shape[1] == self.config.n_vocab, "inputs per layer", table)
        picked = self.per_layer_token_embd(step.tokens)
        n = picked.shape[0] // n_layer
        picked = ops.scale(ops.reshape(picked, n, n_layer, n_tokens), float(np.sqrt(np.float32(n))))
        shrink = float(np.float32(1) / np.sqrt(np.float32(self.config.n_embd)))
        projected = ops.scale(self.per_layer_model_proj(x), shrink)
        projected = self.per_layer_proj_norm(ops.reshape(projected, n, n_layer, n_tokens))
        both = ops.scale(projected + picked, _HALF)
        layers = ops.contiguous(ops.permute(both, (0, 2, 1, 3)))
        return [ops.planes_of(layers, i) for i in range(n_layer)]


class PerLayerGate(Group):
    """norm(proj(gelu(gate(x)) · the layer's input))."""

    inp_gate: Linear
    proj: Linear
    post_norm: RMSNorm

    def __call__(self, x: Tensor, own: Tensor) -> Tensor:
        return self.post_norm(self.proj(ops.gelu(self.inp_gate(x)) * own))
