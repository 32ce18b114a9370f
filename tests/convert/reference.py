"""The models as their papers and Hugging Face's configs describe them, in double precision.

Written apart from what is tested: nothing here knows of GGUF.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.float32]]
Json = Mapping[str, Any]


def rms(x: Array, weight: Array, eps: float) -> Array:
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    middle = x - x.mean(-1, keepdims=True)
    scaled = middle / np.sqrt((middle**2).mean(-1, keepdims=True) + eps) * weight
    return np.asarray(scaled + bias)


def silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))


def gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def frequencies(width: int, base: float, scaling: Json) -> tuple[Array, float]:
    """How fast each pair of a head turns, and what both are multiplied with."""
    turning = base ** (-np.arange(0, width, 2) / width)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "linear":
        return turning / scaling["factor"], 1.0
    if kind == "llama3":
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        context = scaling["original_max_position_embeddings"]
        slowed = []
        for frequency in turning:
            length = 2 * math.pi / frequency
            if length < context / high:
                slowed.append(frequency)
            elif length > context / low:
                slowed.append(frequency / scaling["factor"])
            else:
                smooth = (context / length - low) / (high - low)
                slowed.append((1 - smooth) * frequency / scaling["factor"] + smooth * frequency)
        return np.array(slowed), 1.0
    if kind == "yarn":
        return yarn(turning, width, base, scaling)
    if kind == "longrope":
        return turning / np.array(scaling["short_factor"]), scaling["attention_factor"]
    assert kind == "default"
    return turning, 1.0


def yarn(turning: Array, width: int, base: float, scaling: Json) -> tuple[Array, float]:
    factor, context = scaling["factor"], scaling["original_max_position_embeddings"]

    def dimension(rotations: float) -> float:
        return width * math.log(context / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(math.floor(dimension(32)), 0), min(math.ceil(dimension(1)), width - 1)
    ramp = np.clip((np.arange(width // 2) - low) / max(high - low, 0.001), 0, 1)
    return turning / factor * ramp + turning * (1 - ramp), 0.1 * math.log(factor) + 1


def rotate(x: Array, turning: Array, scale: float) -> Array:
    """``x`` of shape (n_tokens, n_heads, width): halves of a head's first values are pairs."""
    n = 2 * len(turning)
    angles = np.arange(len(x))[:, None, None] * turning
    cos, sin = np.cos(angles) * scale, np.sin(angles) * scale
    first, second = x[..., : n // 2], x[..., n // 2 : n]
    turned = (first * cos - second * sin, second * cos + first * sin, x[..., n:])
    return np.concatenate(turned, axis=-1)


def attend(
    q: Array, k: Array, v: Array, scale: float, *, window: int = 0, cap: float = 0.0,
    causal: bool = True,
) -> Array:  # fmt: skip
    """Shapes (n_tokens, n_heads, width); returns (n_tokens, n_heads * width)."""
    n = len(q)
    repeats = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeats, axis=1), np.repeat(v, repeats, axis=1)
    scores = np.einsum("ihd,jhd->hij", q, k) * scale
    if cap:
        scores = cap * np.tanh(scores / cap)
    distance = np.arange(n)[:, None] - np.arange(n)
    hidden = (distance < 0) | ((distance >= window) if window else False)
    if causal:
        scores = np.where(hidden, -np.inf, scores)
    return np.asarray(np.einsum("hij,jhd->ihd", softmax(scores), v).reshape(n, -1))


def decode(weights: Weights, config: Json, ids: Sequence[int]) -> Array:
    """The logits of every token, of shape (n_tokens, n_vocab)."""
    w = {name.removeprefix("model."): v.astype(np.float64) for name, v in weights.items()}
    kind, eps = config["model_type"], config["rms_norm_eps"]
    is_gemma = kind.startswith("gemma")
    one = 1.0 if is_gemma else 0.0
    act = gelu if is_gemma else silu
    x = w["embed_tokens.weight"][list(ids)]
    if is_gemma:
        x = x * math.sqrt(config["hidden_size"])
    for layer in range(config["num_hidden_layers"]):
        p = f"layers.{layer}."
        norms = {n: w[p + n + ".weight"] + one for n in NORMS if p + n + ".weight" in w}
        out = attention(w, config, layer, rms(x, norms["input_layernorm"], eps))
        if "post_feedforward_layernorm" in norms:
            x = x + rms(out, norms["post_attention_layernorm"], eps)
            h = rms(x, norms["pre_feedforward_layernorm"], eps)
            x = x + rms(feed(w, config, p, h, act), norms["post_feedforward_layernorm"], eps)
        else:
            x = x + out
            x = x + feed(w, config, p, rms(x, norms["post_attention_layernorm"], eps), act)
    x = rms(x, w["norm.weight"] + one, eps)
    logits = x @ w.get("lm_head.weight", w["embed_tokens.weight"]).T
    cap = config.get("final_logit_softcapping")
    return cap * np.tanh(logits / cap) if cap else logits


NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


def attention(w: Mapping[str, Array], config: Json, layer: int, x: Array) -> Array:
    p = f"layers.{layer}.self_attn."
    n_head, n_kv = config["num_attention_heads"], config["num_key_value_heads"]
    width = config.get("head_dim") or config["hidden_size"] // n_head
    if f"{p}qkv_proj.weight" in w:
        cuts = [n_head * width, (n_head + n_kv) * width]
        parts = np.split(x @ w[f"{p}qkv_proj.weight"].T, cuts, axis=-1)
    else:
        parts = [x @ w[f"{p}{n}_proj.weight"].T + w.get(f"{p}{n}_proj.bias", 0.0) for n in "qkv"]
    q, k, v = (part.reshape(len(x), -1, width) for part in parts)
    one = 1.0 if config["model_type"].startswith("gemma") else 0.0
    if f"{p}q_norm.weight" in w:
        q = rms(q, w[f"{p}q_norm.weight"] + one, config["rms_norm_eps"])
        k = rms(k, w[f"{p}k_norm.weight"] + one, config["rms_norm_eps"])
    base, scaling, window = positions(config, layer)
    rotated = int(width * config.get("partial_rotary_factor", 1.0))
    turning, scale = frequencies(rotated, base, scaling)
    q, k = rotate(q, turning, scale), rotate(k, turning, scale)
    scalar = config.get("query_pre_attn_scalar", width)
    cap = config.get("attn_logit_softcapping") or 0.0
    return attend(q, k, v, scalar**-0.5, window=window, cap=cap) @ w[f"{p}o_proj.weight"].T


def positions(config: Json, layer: int) -> tuple[float, Json, int]:
    """The rotation's base and scaling, and the sliding window, of a layer."""
    base, scaling = config["rope_theta"], config.get("rope_scaling") or {}
    match config["model_type"]:
        case "gemma2":
            return base, scaling, 0 if layer % 2 else config["sliding_window"]
        case "gemma3_text" if (layer + 1) % config["sliding_window_pattern"]:
            return config["rope_local_base_freq"], {}, config["sliding_window"]
    return base, scaling, 0


def feed(w: Mapping[str, Array], config: Json, p: str, x: Array, act: Any) -> Array:
    if f"{p}block_sparse_moe.gate.weight" in w:
        return mixture(w, config, f"{p}block_sparse_moe.", x, ("w1", "w3", "w2"))
    if f"{p}mlp.gate.weight" in w:
        names = ("gate_proj", "up_proj", "down_proj")
        return mixture(w, config, f"{p}mlp.", x, names)
    if f"{p}mlp.gate_up_proj.weight" in w:
        gate, up = np.split(x @ w[f"{p}mlp.gate_up_proj.weight"].T, 2, axis=-1)
    else:
        gate, up = (x @ w[f"{p}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
    return np.asarray((act(gate) * up) @ w[f"{p}mlp.down_proj.weight"].T)


def mixture(w: Mapping[str, Array], config: Json, p: str, x: Array, names: Sequence[str]) -> Array:
    gate, up, down = names
    chances = softmax(x @ w[f"{p}gate.weight"].T)
    out = np.zeros_like(x)
    for row, token in enumerate(x):
        best = np.argsort(-chances[row])[: config["num_experts_per_tok"]]
        for expert in best:
            e = f"{p}experts.{expert}."
            hidden = silu(w[f"{e}{gate}.weight"] @ token) * (w[f"{e}{up}.weight"] @ token)
            share = chances[row, expert] / chances[row, best].sum()
            out[row] += share * (w[f"{e}{down}.weight"] @ hidden)
    return out


def encode(weights: Weights, config: Json, ids: Sequence[int]) -> Array:
    """BERT's last hidden states, of shape (n_tokens, hidden_size)."""
    w = {name: v.astype(np.float64) for name, v in weights.items()}
    eps, n_head = config["layer_norm_eps"], config["num_attention_heads"]

    def linear(x: Array, name: str) -> Array:
        return np.asarray(x @ w[f"{name}.weight"].T + w[f"{name}.bias"])

    def norm(x: Array, name: str) -> Array:
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], eps)

    e = "embeddings."
    x = w[f"{e}word_embeddings.weight"][list(ids)]
    x = (
        x
        + w[f"{e}position_embeddings.weight"][: len(ids)]
        + w[f"{e}token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{layer}."
        names = ("query", "key", "value")
        q, k, v = (
            linear(x, f"{p}attention.self.{name}").reshape(len(x), n_head, -1) for name in names
        )
        out = attend(q, k, v, q.shape[-1] ** -0.5, causal=False)
        x = norm(x + linear(out, f"{p}attention.output.dense"), f"{p}attention.output.LayerNorm")
        hidden = gelu(linear(x, f"{p}intermediate.dense"))
        x = norm(x + linear(hidden, f"{p}output.dense"), f"{p}output.LayerNorm")
    return x
