"""DeepSeek V2, V3 and R1, Kimi K2, GLM 4.7 Flash: compressed attention and many experts."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn

_GLM_VOCABULARY, _GLM_LAYERS = 154880, (47, 48)


@dataclass(frozen=True, kw_only=True)
class Config(nn.MLAConfig):
    temperature: float = nn.gguf("attention.temperature_scale", default=0.0)

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {"attention by position": self.temperature != 0}

    @property
    def gating(self) -> nn.Gating:
        """Where the file does not say: GLM's were written without."""
        is_glm = self.n_vocab == _GLM_VOCABULARY and self.n_layer in _GLM_LAYERS
        return nn.Gating.SIGMOID if is_glm else nn.Gating.SOFTMAX


class Block(nn.Block):
    attention: nn.CompressedAttention | nn.ExpandedAttention
    mlp: nn.GatedMLP | nn.SharedMoE


class DeepSeek2(nn.Decoder):
    config: Config
    blk: Sequence[Block]
