"""BERT and the sentence encoders made from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.EncoderConfig):
    norm_epsilon: float = nn.gguf("attention.layer_norm_rms_epsilon", default=0.0)
    layer_norm_epsilon: float = nn.gguf("attention.layer_norm_epsilon")

    @property
    def rotates(self) -> bool:
        return False


class GeluMLP(nn.MLP):
    """down(gelu(up(x)))."""

    ffn_up: nn.Linear
    ffn_down: nn.Linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.ffn_down(ops.gelu(self.ffn_up(x)))


class Block(nn.Layer):
    """Norms stand behind what they even out."""

    attention: nn.Attention
    attn_output_norm: nn.LayerNorm
    mlp: nn.MLP
    layer_output_norm: nn.LayerNorm

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        x = self.attn_output_norm(self.attention(x, at) + x)
        return self.layer_output_norm(self.mlp(x) + x)


class DenseBlock(Block):
    mlp: GeluMLP


class Sentences(nn.Encoder):
    """What every text begins with: words of one kind, normalised."""

    config: Config
    token_types: nn.Vector | None
    token_embd_norm: nn.LayerNorm

    def embed(self, step: nn.Step) -> Tensor:
        x = super().embed(step)
        if self.token_types is not None:
            x = x + ops.rows_of(self.token_types.weight, 0, 1, graph=x.graph)
        return self.token_embd_norm(self.placed(x, step))

    def placed(self, x: Tensor, step: nn.Step) -> Tensor:
        """x with what positions add."""
        return x


class Bert(Sentences):
    blk: Sequence[DenseBlock]
    position_embd: nn.Embedding

    @property
    def n_positions(self) -> int:
        return self.position_embd.weight.shape[1]

    def placed(self, x: Tensor, step: nn.Step) -> Tensor:
        return self.position_embd(step.positions) + x
