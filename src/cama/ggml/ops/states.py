"""Operations that carry a state from token to token."""

from cama.ggml import _abi
from cama.ggml.library import ggml
from cama.ggml.ops.checks import check, check_type, graph_of, n_elements
from cama.ggml.tensor import Tensor

_F32 = _abi.GGML_TYPE_F32


def ssm_conv(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution over time in each channel.

    x [k - 1 + n, n_channel, n_seqs], the last k - 1 of before first; weight [k, n_channel]
    -> [n_channel, n, n_seqs].
    """
    k, n_channel, _, _ = weight.shape
    n = x.shape[0] - k + 1
    check(n > 0 and x.shape[1] == n_channel and x.shape[3] == 1, "ssm_conv", x, weight)
    check_type("ssm_conv", x, weight)
    graph = graph_of(x)
    node = ggml().ggml_ssm_conv(graph.context.address, x.address, weight.address)
    return graph.result(node, _F32, (n_channel, n, x.shape[2], 1))


def ssm_scan(
    states: Tensor, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, *, slots: Tensor
) -> tuple[Tensor, Tensor]:
    """Mamba 2's recurrence, from the ``slots`` (int32 [n_seqs]) of ``states`` on.

    states [n_state, n, n_head, n_slots], x [n, n_head, n_tokens, n_seqs], dt [n_head, n_tokens,
    n_seqs], a [1, n_head], b and c [n_state, n_group, n_tokens, n_seqs]
    -> what it gives [n · n_head, n_tokens · n_seqs], the new states [n_state · n · n_head, n_seqs].
    """
    n_state, n, n_head, _ = states.shape
    n_tokens, n_seqs = x.shape[2:]
    fits = x.shape[:2] == (n, n_head) and dt.shape == (n_head, n_tokens, n_seqs, 1)
    fits = fits and a.shape == (1, n_head, 1, 1) and b.shape == c.shape and slots.shape[0] == n_seqs
    fits = fits and b.shape[0] == n_state and b.shape[2:] == (n_tokens, n_seqs)
    check(fits and b.shape[1] > 0 and n_head % b.shape[1] == 0, "ssm_scan", states, x, dt, a, b)
    check_type("ssm_scan", states, x, dt, a, b, c)
    graph = graph_of(x)
    node = ggml().ggml_ssm_scan(
        graph.context.address, states.address, x.address, dt.address, a.address, b.address,
        c.address, slots.address, 1,
    )  # fmt: skip
    width = n_state * n * n_head
    whole = graph.result(node, _F32, (n_elements(x.shape) + width * n_seqs, 1, 1, 1))
    return _halves(whole, (n * n_head, n_tokens * n_seqs), (width, n_seqs))


def gated_delta_net(
    q: Tensor, k: Tensor, v: Tensor, gate: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The gated delta rule: each head's matrix decays, is corrected towards v, and is read with q.

    q and k [n, n_head_k, n_tokens, n_seqs], v [n, n_head, n_tokens, n_seqs], gate and beta
    [1, n_head, n_tokens, n_seqs], state [n, n, n_head, n_seqs]; head h of v has head h modulo
    n_head_k of q. -> what is read [n · n_head, n_tokens · n_seqs], the new states
    [n · n · n_head, n_seqs].
    """
    n, n_head, n_tokens, n_seqs = v.shape
    fits = q.shape == k.shape and q.shape[0] == n and q.shape[2:] == v.shape[2:]
    fits = fits and n_head % q.shape[1] == 0 and state.shape == (n, n, n_head, n_seqs)
    fits = fits and gate.shape == beta.shape == (1, n_head, n_tokens, n_seqs)
    check(fits, "gated_delta_net", q, k, v, gate, beta, state)
    check_type("gated_delta_net", q, k, v, gate, beta, state)
    graph = graph_of(v)
    node = ggml().ggml_gated_delta_net(
        graph.context.address, q.address, k.address, v.address, gate.address, beta.address,
        state.address, 1,
    )  # fmt: skip
    width = n * n_head
    whole = graph.result(node, _F32, (width, n_tokens * n_seqs + n * n_seqs, 1, 1))
    return _halves(whole, (width, n_tokens * n_seqs), (n * width, n_seqs))


def _halves(
    whole: Tensor, first: tuple[int, int], second: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Two contiguous matrices that lie behind each other."""
    graph, lib = graph_of(whole), ggml()
    offset = 0
    views = []
    for n, rows in (first, second):
        node = lib.ggml_view_2d(graph.context.address, whole.address, n, rows, 4 * n, offset)
        views.append(graph.result(node, _F32, (n, rows, 1, 1)))
        offset += 4 * n * rows
    return views[0], views[1]
