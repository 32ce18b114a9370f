"""The llama architecture in PyTorch, as small as its GGUF namesake needs it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

DROPOUT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Hyperparameters. Rows are multiples of 256, so that every quantization fits."""

    n_vocab: int = 3072
    n_layer: int = 2
    n_embd: int = 512
    n_head: int = 8
    n_head_kv: int = 2
    head_dim: int = 64
    n_ff: int = 1280
    n_ctx: int = 2048
    rope_base: float = 10000.0
    norm_eps: float = 1e-5


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        d, q, kv = shape.n_embd, shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
        self.q, self.k, self.v = _linear(d, q), _linear(d, kv), _linear(d, kv)
        self.output = _linear(q, d)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        n, t, _ = x.shape
        dim = self.shape.head_dim
        q = _rotate(self.q(x).view(n, t, self.shape.n_head, dim), rope).transpose(1, 2)
        k = _rotate(self.k(x).view(n, t, self.shape.n_head_kv, dim), rope).transpose(1, 2)
        v = self.v(x).view(n, t, self.shape.n_head_kv, dim).transpose(1, 2)
        group = self.shape.n_head // self.shape.n_head_kv
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(y.transpose(1, 2).reshape(n, t, -1))


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attn_norm = nn.RMSNorm(shape.n_embd, shape.norm_eps)
        self.attn = Attention(shape)
        self.ffn_norm = nn.RMSNorm(shape.n_embd, shape.norm_eps)
        self.gate, self.up = _linear(shape.n_embd, shape.n_ff), _linear(shape.n_embd, shape.n_ff)
        self.down = _linear(shape.n_ff, shape.n_embd)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x), rope)
        y = self.ffn_norm(x)
        return x + self.dropout(self.down(functional.silu(self.gate(y)) * self.up(y)))


class Llama(nn.Module):
    """Logits of shape (n, t, n_vocab) for token ids of shape (n, t)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.norm = nn.RMSNorm(shape.n_embd, shape.norm_eps)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.embedding.weight, std=0.02)
        for block in self.blocks:
            for last in (block.attn.output, block.down):
                nn.init.normal_(last.weight, std=0.02 / (2 * shape.n_layer) ** 0.5)

    def forward(self, ids: Tensor) -> Tensor:
        rope = _angles(self.shape, ids.shape[1])
        x = self.dropout(self.embedding(ids))
        for block in self.blocks:
            x = block(x, rope)
        return functional.linear(self.norm(x), self.embedding.weight)


def _linear(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out, bias=False)
    nn.init.normal_(layer.weight, std=0.02)
    return layer


def _angles(shape: Shape, n: int) -> Tensor:
    """Cosines and sines of the rotary positions, of shape (2, n, 1, head_dim / 2)."""
    steps = torch.arange(0, shape.head_dim, 2) / shape.head_dim
    angles = torch.outer(torch.arange(n).float(), shape.rope_base**-steps)[:, None]
    return torch.stack((angles.cos(), angles.sin()))


def _rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Rotate neighbours as pairs, which is how the llama architecture of GGUF does it."""
    cos, sin = rope
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
    return turned.flatten(-2).type_as(x)
