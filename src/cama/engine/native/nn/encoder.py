"""Models that read a text both ways and turn it into one vector."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cama.engine.base import Pooling
from cama.engine.native.kvcache.layout import Window
from cama.engine.native.nn.decoder import Layer
from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.engine.native.nn.layers import Embedding
from cama.engine.native.nn.module import Module
from cama.engine.native.nn.rope import NoRotation, Rotation
from cama.engine.native.nn.step import Place, Step
from cama.ggml.tensor import Tensor

ENCODER_POOLINGS: Mapping[int, Pooling] = {1: "mean", 2: "cls", 3: "last"}


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(DecoderConfig):
    is_causal: bool = False

    @property
    def refusals(self) -> dict[str, bool]:
        inherited = super().refusals
        return (
            inherited
            | {"this kind of pooling": self.pooling_type not in ENCODER_POOLINGS}
            | {"attention that is not causal": False}
        )

    @property
    def pooling(self) -> Pooling:
        return ENCODER_POOLINGS[self.pooling_type]


class Encoder(Module):
    """Embedding and blocks; subclasses say which."""

    config: EncoderConfig
    token_embd: Embedding
    blk: Sequence[Layer]

    def __call__(self, step: Step) -> Tensor:
        """The last hidden states [n_embd, n_tokens]."""
        x = self.embed(step)
        for block, at in zip(self.blk, self.places(step), strict=True):
            x = block(x, at)
        return self.finish(x)

    def embed(self, step: Step) -> Tensor:
        return self.token_embd(step.tokens)

    def finish(self, x: Tensor) -> Tensor:
        """What is done behind the last block."""
        return x

    def project(self, pooled: Tensor) -> Tensor:
        """The vectors of texts from what their tokens' became."""
        return pooled

    @property
    def n_positions(self) -> int:
        """Tokens that the model has positions for."""
        return self.config.n_ctx

    @property
    def windows(self) -> list[Window | None]:
        """What each layer's tokens see."""
        return [self.config.layer(i).window for i in range(self.config.n_layer)]

    def places(self, step: Step) -> Iterator[Place]:
        for i, cache in enumerate(step.caches):
            c = self.config.layer(i)
            rotate = Rotation(c.rope_settings, step.positions) if c.rotates else NoRotation()
            yield Place(step, cache, rotate, is_last=False)
