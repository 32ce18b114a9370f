"""Layers that keep a running state instead of a cache, beside layers with attention."""

from dataclasses import dataclass

from cama.engine.native.kvcache.layout import Layout, StateLayout
from cama.engine.native.kvcache.state import LayerState
from cama.engine.native.nn.config import gguf
from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class HybridConfig(DecoderConfig):
    """A layer without key heads keeps a state."""

    @property
    def refusals(self) -> dict[str, bool]:
        negative = self.n_head < 0 or self.n_head_kv < 0
        return super().refusals | {
            "no attention heads": negative or (self.n_head == 0 and not self.is_recurrent)
        }

    @property
    def is_recurrent(self) -> bool:
        return self.n_head_kv == 0

    @property
    def state_widths(self) -> tuple[int, ...]:
        """Elements of each state of a sequence."""
        raise NotImplementedError

    @property
    def layout(self) -> Layout:
        return StateLayout(self.state_widths) if self.is_recurrent else self.cache


@dataclass(frozen=True, kw_only=True)
class SSMConfig(HybridConfig):
    n_kernel: int = gguf("ssm.conv_kernel")
    n_inner: int = gguf("ssm.inner_size")
    n_state: int = gguf("ssm.state_size")
    n_ssm_head: int = gguf("ssm.time_step_rank")
    n_group: int = gguf("ssm.group_count")

    @property
    def refusals(self) -> dict[str, bool]:
        sizes = (self.n_inner, self.n_state, self.n_ssm_head, self.n_group, self.n_kernel - 1)
        fits = min(sizes) > 0 and self.n_inner % self.n_ssm_head == 0
        fits = fits and self.n_ssm_head % max(1, self.n_group) == 0
        return super().refusals | {"these sizes of states": not fits}


def convolve(x: Tensor, weight: Tensor, state: LayerState, index: int = 0) -> Tensor:
    """x [n_channel, n_tokens, n_seqs] through a kernel over time; its last inputs are kept."""
    n_channel, n_tokens, n_seqs, _ = x.shape
    n_before = weight.shape[0] - 1
    before = ops.reshape(state.read(index), n_before, n_channel, n_seqs)
    window = ops.concat(before, ops.transpose(x), 0)
    last = ops.contiguous(ops.part(window, n_tokens, n_before))
    state.write(index, ops.reshape(last, n_before * n_channel, n_seqs))
    return ops.ssm_conv(window, weight)
