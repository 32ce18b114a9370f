"""Nemotron H: each block is Mamba 2, attention, or an MLP whose ReLU is squared."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn
from cama.engine.native.kvcache.layout import Layout
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.MambaConfig, nn.RoutedConfig):
    rms_epsilon: float = nn.gguf("attention.layer_norm_rms_epsilon", default=0.0)
    norm_epsilon: float = nn.gguf("attention.layer_norm_epsilon")
    n_ff: int = nn.gguf("feed_forward_length", default=0, by_layer=True)

    @property
    def gating(self) -> nn.Gating:
        return nn.Gating.SIGMOID

    @property
    def is_recurrent(self) -> bool:
        return self.n_head_kv == 0 and self.n_ff == 0

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {
            "no attention heads": self.n_ff == 0 and self.n_head_kv > self.n_head,
            "two kinds of epsilon": self.rms_epsilon not in (0.0, self.norm_epsilon),
        }

    @property
    def rotates(self) -> bool:
        return False

    @property
    def layout(self) -> Layout:
        return None if self.n_ff > 0 else super().layout


def _squared(x: Tensor) -> Tensor:
    return ops.sqr(ops.relu(x))


class MLP(nn.MLP):
    ffn_up: nn.Linear
    ffn_down: nn.Linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.ffn_down(_squared(self.ffn_up(x)))


class SharedMLP(nn.MLP):
    ffn_up_shexp: nn.Linear
    ffn_down_shexp: nn.Linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.ffn_down_shexp(_squared(self.ffn_up_shexp(x)))


class MoE(nn.MLP):
    """Experts compute in a smaller space, where the file has a way into it and out."""

    router: nn.Router
    ffn_latent_down: nn.Linear | None
    ffn_up_exps: nn.Experts
    ffn_down_exps: nn.Experts
    ffn_latent_up: nn.Linear | None
    shared: SharedMLP | None

    def __call__(self, x: Tensor) -> Tensor:
        chosen, weights = self.router(x)
        latent = x if self.ffn_latent_down is None else self.ffn_latent_down(x)
        hidden = _squared(self.ffn_up_exps(nn.rows(latent), chosen))
        mixed = nn.add_up(self.ffn_down_exps(hidden, chosen) * weights)
        mixed = mixed if self.ffn_latent_up is None else self.ffn_latent_up(mixed)
        return mixed if self.shared is None else mixed + self.shared(x)


class Block(nn.Layer):
    attn_norm: nn.RMSNorm
    mixer: nn.Attention | nn.Mamba2 | None
    mlp: MLP | MoE | None

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        normed = self.attn_norm(x)
        if self.mixer is not None:
            return self.mixer(normed, at) + x
        return nn.present(self.mlp)(normed) + x


class NemotronH(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    chooses_rows_last = True
