"""EmbeddingGemma: a Gemma 3 that reads both ways, and two matrices behind the pooling."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn
from cama.engine.native.kvcache.layout import Window
from cama.engine.native.models import gemma3
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(gemma3.Config, nn.EncoderConfig):
    sliding_window: int = nn.gguf("attention.sliding_window")
    is_causal: bool = False

    @property
    def window(self) -> Window | None:
        window = super().window
        return None if window is None else Window(window.size, "around")


class GemmaEmbedding(nn.Encoder):
    config: Config
    blk: Sequence[gemma3.Block]
    output_norm: nn.RMSNorm
    dense_2: nn.Linear | None
    dense_3: nn.Linear | None

    def embed(self, step: nn.Step) -> Tensor:
        return ops.scale(super().embed(step), self.config.embedding_scale)

    def finish(self, x: Tensor) -> Tensor:
        return self.output_norm(x)

    def project(self, pooled: Tensor) -> Tensor:
        for dense in (self.dense_2, self.dense_3):
            pooled = pooled if dense is None else dense(pooled)
        return pooled
