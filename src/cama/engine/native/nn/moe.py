"""Mixtures of experts: who computes a token, and how much each counts."""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from cama.core.errors import UnsupportedModel
from cama.engine.native.nn.config import gguf
from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.engine.native.nn.layers import Bias, Experts, Linear
from cama.engine.native.nn.mlp import MLP, SharedMLP
from cama.engine.native.nn.module import Group
from cama.ggml import ops
from cama.ggml.ops.checks import check
from cama.ggml.tensor import Tensor

_SMALLEST_SUM = 6.103515625e-5
"""The smallest normal float16: what libllama divides by at least."""


class Gating(IntEnum):
    """How router logits become probabilities; the values are those of a GGUF."""

    SOFTMAX = 1
    SIGMOID = 2
    SOFTMAX_OF_CHOSEN = 3
    """Over the logits of the experts that were chosen."""


@dataclass(frozen=True, kw_only=True)
class Routing:
    """``n_used`` experts are chosen, where there are groups only out of the best ones."""

    n_used: int
    gating: Gating = Gating.SOFTMAX
    normalises: bool = True
    scale: float = 1.0
    n_group: int = 1
    n_group_used: int = 1


@dataclass(frozen=True, kw_only=True)
class MoEConfig(DecoderConfig):
    """A decoder with experts, whose routing a subclass says or reads."""

    normalises: ClassVar[bool] = True

    n_expert: int = gguf("expert_count", default=0)
    n_expert_used: int = gguf("expert_used_count", default=0, by_layer=True)
    n_expert_group: int = gguf("expert_group_count", default=0)
    n_expert_group_used: int = gguf("expert_group_used_count", default=0)
    expert_scale: float = gguf("expert_weights_scale", default=0.0)

    @property
    def gating(self) -> Gating:
        return Gating.SOFTMAX

    @property
    def routing(self) -> Routing:
        return Routing(
            n_used=self.n_expert_used,
            gating=self.gating,
            normalises=self.normalises,
            scale=self.expert_scale or 1.0,
            n_group=max(1, self.n_expert_group),
            n_group_used=max(1, self.n_expert_group_used),
        )


@dataclass(frozen=True, kw_only=True)
class RoutedConfig(MoEConfig):
    """Gating and normalisation as the file says."""

    gating_number: int = gguf("expert_gating_func", default=0)
    weights_norm: bool = gguf("expert_weights_norm", default=False)

    @property
    def routing(self) -> Routing:
        try:
            gating = Gating(self.gating_number or self.gating)
        except ValueError:
            raise UnsupportedModel(f"no routing of kind {self.gating_number}") from None
        made = super().routing
        return Routing(**{**vars(made), "gating": gating, "normalises": self.weights_norm})


class Router(Group):
    """Chooses experts; ``exp_probs_b`` counts when choosing and not when weighing."""

    config: MoEConfig
    ffn_gate_inp: Linear
    exp_probs_b: Bias | None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [n_embd, n_tokens] -> experts int32 [k, n_tokens], their weights [1, k, n_tokens]."""
        routing = self.config.routing
        logits = self.ffn_gate_inp(x)
        check(logits.shape[0] == self.config.n_expert, "router", logits)
        probabilities = _gate(logits, routing.gating)
        scores = self.scores(logits, probabilities)
        if self.exp_probs_b is not None:
            scores = scores + self.exp_probs_b.weight
        if routing.n_group > 1:
            scores = _best_groups(scores, routing)
        chosen = ops.top_k(scores, routing.n_used)
        return chosen, _weigh(probabilities, chosen, routing)

    def scores(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """What experts are chosen by."""
        return probabilities


def _gate(logits: Tensor, gating: Gating) -> Tensor:
    if gating is Gating.SOFTMAX:
        return ops.soft_max(logits)
    return ops.sigmoid(logits) if gating is Gating.SIGMOID else logits


def _best_groups(scores: Tensor, routing: Routing) -> Tensor:
    """``scores`` [E, n_tokens] with -inf outside of the groups whose two best sum up highest."""
    n_expert, n_tokens, _, _ = scores.shape
    n_group = routing.n_group
    if not n_tokens:  # no rows are wanted of the last layer; ggml cannot scatter none
        return scores
    groups = ops.reshape(scores, n_expert // n_group, n_group, n_tokens)
    best = ops.top_k(groups, 2)
    cells = ops.reshape(groups, 1, n_expert // n_group, n_group, n_tokens)
    pairs = ops.reshape(ops.get_rows(cells, best), 2, n_group, n_tokens)
    sums = ops.reshape(ops.sum_rows(pairs), n_group, n_tokens)
    kept = ops.top_k(sums, routing.n_group_used)
    masked = ops.set_rows(ops.fill(groups, float("-inf")), ops.get_rows(groups, kept), kept)
    return ops.reshape(masked, n_expert, n_tokens)


def _weigh(probabilities: Tensor, chosen: Tensor, routing: Routing) -> Tensor:
    n_expert, n_tokens, _, _ = probabilities.shape
    k = routing.n_used
    weights = ops.get_rows(ops.reshape(probabilities, 1, n_expert, n_tokens), chosen)
    if routing.gating is Gating.SOFTMAX_OF_CHOSEN:
        weights = ops.soft_max(ops.reshape(weights, k, n_tokens))
    if routing.normalises:
        weights = ops.reshape(weights, k, n_tokens)
        total = ops.clamp(ops.sum_rows(weights), _SMALLEST_SUM, float("inf"))
        weights = ops.div(weights, total)
    weights = ops.reshape(weights, 1, k, n_tokens)
    return weights if routing.scale == 1 else ops.scale(weights, routing.scale)


class GatedExperts(Group):
    """down(silu(gate(x)) · up(x)) in each chosen expert."""

    gated = staticmethod(ops.swiglu)

    ffn_gate_exps: Experts
    ffn_up_exps: Experts
    ffn_down_exps: Experts

    def __call__(self, x: Tensor, chosen: Tensor) -> Tensor:
        """x [n_embd, 1 or k, n_tokens] -> [n_embd, k, n_tokens]."""
        up = self.ffn_up_exps(x, chosen)
        return self.ffn_down_exps(self.gated(self.ffn_gate_exps(x, chosen), up), chosen)


class FusedGatedExperts(Group):
    """The same from one weight, whose first rows are the gate's."""

    gated = staticmethod(ops.swiglu)
    ffn_gate_up_exps: Experts
    ffn_down_exps: Experts

    def __call__(self, x: Tensor, chosen: Tensor) -> Tensor:
        """x [n_embd, 1 or k, n_tokens] -> [n_embd, k, n_tokens]."""
        both = self.ffn_gate_up_exps(x, chosen)
        n = both.shape[0] // 2
        return self.ffn_down_exps(self.gated(ops.part(both, 0, n), ops.part(both, n, n)), chosen)


def add_up(x: Tensor) -> Tensor:
    """The sum over the experts: [n, k, n_tokens] -> [n, n_tokens]."""
    total = ops.slice_of(x, 0)
    if x.shape[1] == 1:
        return ops.contiguous(total)
    for i in range(1, x.shape[1]):
        total = total + ops.slice_of(x, i)
    return total


def rows(x: Tensor) -> Tensor:
    """[n, n_tokens] -> [n, 1, n_tokens], as experts take them."""
    return ops.reshape(x, x.shape[0], 1, x.shape[1])


class MoE(MLP):
    """The weighted sum of the chosen experts."""

    router: Router
    experts: GatedExperts | FusedGatedExperts

    def __call__(self, x: Tensor) -> Tensor:
        return self.mix(x)

    def mix(self, x: Tensor) -> Tensor:
        chosen, weights = self.router(x)
        return add_up(self.experts(rows(x), chosen) * weights)


class SharedMoE(MoE):
    """And an expert for every token, where the file has one."""

    shared: SharedMLP | None

    def __call__(self, x: Tensor) -> Tensor:
        mixed = self.mix(x)
        return mixed if self.shared is None else mixed + self.shared(x)
