"""Shapes of models to make: hyperparameters, and the tensors that follow from them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from cama.gguf.encode import Writable

KERNEL = 3
"""Tokens that a short convolution sees."""

Named = tuple[str, tuple[int, ...]]
"""A tensor's name and its shape, ne0 first."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Hyperparameters of a model to make; ``keys`` are those that only its architecture has."""

    architecture: str = "llama"
    n_vocab: int
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int
    n_ctx: int
    rope_base: float = 500000.0
    is_tied: bool = True
    n_expert: int = 0
    n_expert_used: int = 0
    n_ff_expert: int = 0
    attention_layers: tuple[int, ...] = ()
    """Those with attention, in models whose other layers keep a state; every other one if none."""
    keys: Mapping[str, Writable] = field(default_factory=dict)


LLAMA_1B = Shape(
    n_vocab=128256,
    n_layer=16,
    n_embd=2048,
    n_head=32,
    n_head_kv=8,
    head_dim=64,
    n_ff=8192,
    n_ctx=131072,
)
"""Llama 3.2 1B."""

TINY = Shape(
    n_vocab=512,
    n_layer=2,
    n_embd=256,
    n_head=4,
    n_head_kv=2,
    head_dim=64,
    n_ff=512,
    n_ctx=2048,
    rope_base=10000.0,
)

TINY_MOE = Shape(
    architecture="qwen3moe",
    n_vocab=512,
    n_layer=2,
    n_embd=256,
    n_head=4,
    n_head_kv=2,
    head_dim=64,
    n_ff=512,
    n_ctx=2048,
    n_expert=4,
    n_expert_used=2,
    n_ff_expert=256,
)

BENCHMARKS: Mapping[str, Shape] = {
    "llama": LLAMA_1B,
    "qwen3": Shape(  # Qwen 3 0.6B
        architecture="qwen3",
        n_vocab=151936,
        n_layer=28,
        n_embd=1024,
        n_head=16,
        n_head_kv=8,
        head_dim=128,
        n_ff=3072,
        n_ctx=40960,
        rope_base=1e6,
    ),
    "gemma3": Shape(  # Gemma 3 1B, rounded to whole blocks of K-quants
        architecture="gemma3",
        n_vocab=262144,
        n_layer=26,
        n_embd=1024,
        n_head=4,
        n_head_kv=1,
        head_dim=256,
        n_ff=6912,
        n_ctx=32768,
        rope_base=1e6,
        keys={"attention.sliding_window": 512},
    ),
    "qwen3moe": Shape(  # Qwen 3 30B-A3B with fewer and smaller experts and layers
        architecture="qwen3moe",
        n_vocab=151936,
        n_layer=12,
        n_embd=1024,
        n_head=16,
        n_head_kv=4,
        head_dim=128,
        n_ff=3072,
        n_ctx=40960,
        rope_base=1e6,
        n_expert=32,
        n_expert_used=4,
        n_ff_expert=512,
    ),
    "gpt-oss": Shape(  # gpt-oss 20B with fewer and smaller experts and layers
        architecture="gpt-oss",
        n_vocab=201088,
        n_layer=8,
        n_embd=1024,
        n_head=32,
        n_head_kv=4,
        head_dim=64,
        n_ff=1024,
        n_ctx=131072,
        rope_base=150000.0,
        is_tied=False,
        n_expert=16,
        n_expert_used=4,
        n_ff_expert=1024,
        keys={
            "attention.sliding_window": 128,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 32.0,
            "rope.scaling.original_context_length": 4096,
        },
    ),
    "lfm2": Shape(  # LFM 2 350M
        architecture="lfm2",
        n_vocab=65536,
        n_layer=16,
        n_embd=1024,
        n_head=16,
        n_head_kv=8,
        head_dim=64,
        n_ff=4608,
        n_ctx=32768,
        rope_base=1e6,
        attention_layers=(2, 5, 8, 10, 12, 14),
    ),
}
"""By architecture, of 0.3 to 1.2 billion parameters."""


def hyperparameters(shape: Shape) -> dict[str, Writable]:
    """Keys below the architecture's prefix."""
    heads: Writable = shape.n_head_kv
    if keeps_states(shape):
        layers = range(shape.n_layer)
        heads = [0 if _convolves(shape, i) else shape.n_head_kv for i in layers]
    keys: dict[str, Writable] = {
        "block_count": shape.n_layer,
        "context_length": shape.n_ctx,
        "embedding_length": shape.n_embd,
        "feed_forward_length": shape.n_ff,
        "attention.head_count": shape.n_head,
        "attention.head_count_kv": heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": shape.head_dim,
        "rope.freq_base": shape.rope_base,
        "vocab_size": shape.n_vocab,
    }
    if shape.n_expert:
        keys |= {
            "expert_count": shape.n_expert,
            "expert_used_count": shape.n_expert_used,
            "expert_feed_forward_length": shape.n_ff_expert,
        }
    if keeps_states(shape):
        keys["shortconv.l_cache"] = KERNEL
    return keys | dict(shape.keys)


def keeps_states(shape: Shape) -> bool:
    """Whether some layers have no attention."""
    return shape.architecture == "lfm2"


def _convolves(shape: Shape, index: int) -> bool:
    if not keeps_states(shape):
        return False
    attention = shape.attention_layers or range(1, shape.n_layer, 2)
    return index not in attention


def tensors(shape: Shape) -> Iterator[Named]:
    """Every tensor of a model."""
    d = shape.n_embd
    yield "token_embd.weight", (d, shape.n_vocab)
    for i in range(shape.n_layer):
        for name, ne in _BLOCKS.get(shape.architecture, _plain)(shape, i):
            yield f"blk.{i}.{name}", ne
    yield "token_embd_norm.weight" if keeps_states(shape) else "output_norm.weight", (d,)
    if not shape.is_tied:
        yield "output.weight", (d, shape.n_vocab)


def _attention(shape: Shape, biased: tuple[str, ...] = ()) -> Iterator[Named]:
    d, q, kv = shape.n_embd, shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    for name, ne in (("q", (d, q)), ("k", (d, kv)), ("v", (d, kv)), ("output", (q, d))):
        yield f"attn_{name}.weight", ne
        if name in biased:
            yield f"attn_{name}.bias", (ne[1],)


def _head_norms(shape: Shape) -> Iterator[Named]:
    yield "attn_q_norm.weight", (shape.head_dim,)
    yield "attn_k_norm.weight", (shape.head_dim,)


def _gated(shape: Shape) -> Iterator[Named]:
    yield "ffn_gate.weight", (shape.n_embd, shape.n_ff)
    yield "ffn_up.weight", (shape.n_embd, shape.n_ff)
    yield "ffn_down.weight", (shape.n_ff, shape.n_embd)


def _experts(shape: Shape, *, biased: bool = False) -> Iterator[Named]:
    d, f, n = shape.n_embd, shape.n_ff_expert, shape.n_expert
    for name, ne in (
        ("gate_inp", (d, n)),
        ("gate_exps", (d, f, n)),
        ("up_exps", (d, f, n)),
        ("down_exps", (f, d, n)),
    ):
        yield f"ffn_{name}.weight", ne
        if biased:
            yield f"ffn_{name}.bias", ne[1:]


def _plain(shape: Shape, index: int) -> Iterator[Named]:
    yield "attn_norm.weight", (shape.n_embd,)
    yield from _attention(shape)
    yield "ffn_norm.weight", (shape.n_embd,)
    yield from _gated(shape)


def _qwen2(shape: Shape, index: int) -> Iterator[Named]:
    yield "attn_norm.weight", (shape.n_embd,)
    yield from _attention(shape, ("q", "k", "v"))
    yield "ffn_norm.weight", (shape.n_embd,)
    yield from _gated(shape)


def _qwen3(shape: Shape, index: int) -> Iterator[Named]:
    yield "attn_norm.weight", (shape.n_embd,)
    yield from _attention(shape)
    yield from _head_norms(shape)
    yield "ffn_norm.weight", (shape.n_embd,)
    yield from _experts(shape) if shape.n_expert else _gated(shape)


def _gemma3(shape: Shape, index: int) -> Iterator[Named]:
    for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
        yield f"{name}.weight", (shape.n_embd,)
    yield from _attention(shape)
    yield from _head_norms(shape)
    yield from _gated(shape)


def _gpt_oss(shape: Shape, index: int) -> Iterator[Named]:
    yield "attn_norm.weight", (shape.n_embd,)
    yield "post_attention_norm.weight", (shape.n_embd,)
    yield from _attention(shape, ("q", "k", "v", "output"))
    yield "attn_sinks.weight", (shape.n_head,)
    yield from _experts(shape, biased=True)


def _lfm2(shape: Shape, index: int) -> Iterator[Named]:
    d = shape.n_embd
    yield "attn_norm.weight", (d,)
    if not _convolves(shape, index):
        yield from _attention(shape)
        yield from _head_norms(shape)
    else:
        yield "shortconv.conv.weight", (KERNEL, d)
        yield "shortconv.in_proj.weight", (d, 3 * d)
        yield "shortconv.out_proj.weight", (d, d)
    yield "ffn_norm.weight", (d,)
    yield from _gated(shape)


_BLOCKS: Mapping[str, Callable[[Shape, int], Iterator[Named]]] = {
    "qwen2": _qwen2,
    "qwen2vl": _qwen2,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3,
    "gemma3": _gemma3,
    "gpt-oss": _gpt_oss,
    "lfm2": _lfm2,
}
