"""Qwen 3: queries and keys are normalised per head before they are rotated."""

from collections.abc import Sequence

from cama.engine.native import nn
from cama.engine.native.kvcache.storage import LayerCache
from cama.engine.native.models.qwen2 import Config
from cama.ggml.tensor import Tensor


class Attention(nn.Attention):
    attn_q_norm: nn.RMSNorm
    attn_k_norm: nn.RMSNorm

    def __call__(self, x: Tensor, rotate: nn.Rotation, kv: LayerCache) -> Tensor:
        c = self.config
        q = rotate(self.attn_q_norm(nn.heads(self.attn_q(x), c.n_head)))
        k = rotate(self.attn_k_norm(nn.heads(self.attn_k(x), c.n_head_kv)))
        v = nn.heads(self.attn_v(x), c.n_head_kv)
        return self.attn_output(nn.attend(q, k, v, kv, c.attention_scale))


class Block(nn.Block):
    attention: Attention


class Qwen3(nn.Decoder):
    config: Config
    blk: Sequence[Block]
