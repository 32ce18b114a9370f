"""Checkpoints with random weights, as Hugging Face's library would save them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]
N_VOCAB = 300


@dataclass(frozen=True)
class Made:
    """A checkpoint in ``folder``."""

    folder: Path
    config: Mapping[str, Any]
    weights: Weights

    @property
    def files(self) -> dict[str, Path]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path.relative_to(self.folder).as_posix(): path for path in paths}


COMMON = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-3,
    "rope_theta": 10000.0,
    "vocab_size": N_VOCAB,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
GEMMA = COMMON | {
    "hidden_activation": "gelu_pytorch_tanh",
    "head_dim": 16,
    "sliding_window": 8,
    "query_pre_attn_scalar": 16,
    "tie_word_embeddings": True,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LONG = {
    "type": "longrope",
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "attention_factor": 1.1902380714238083,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": COMMON | {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    "llama3": COMMON
    | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rope_scaling": LLAMA3,
        "tie_word_embeddings": True,
    },
    "llama-linear": COMMON
    | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rope_scaling": {"type": "linear", "factor": 4.0},
        "attention_bias": True,
    },
    "mistral": COMMON
    | {
        "model_type": "mistral",
        "architectures": ["MistralForCausalLM"],
        "head_dim": 16,
        "sliding_window": 64,
    },
    "mixtral": COMMON
    | {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    "qwen2": COMMON
    | {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "rope_scaling": YARN,
        "use_sliding_window": False,
        "sliding_window": 16,
    },
    "qwen3": COMMON
    | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 16},
    "qwen3moe": COMMON
    | {
        "model_type": "qwen3_moe",
        "architectures": ["Qwen3MoeForCausalLM"],
        "head_dim": 16,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "norm_topk_prob": True,
    },
    "gemma": GEMMA | {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]},
    "gemma2": GEMMA
    | {
        "model_type": "gemma2",
        "architectures": ["Gemma2ForCausalLM"],
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 3.0,
    },
    "gemma3": GEMMA
    | {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "sliding_window_pattern": 3,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "phi3": COMMON | {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]},
    "phi3-long": COMMON
    | {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "rope_scaling": LONG,
        "original_max_position_embeddings": 512,
        "max_position_embeddings": 1024,
    },
    "bert": {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-3,
        "hidden_act": "gelu",
        "vocab_size": N_VOCAB,
    },
}


def make(
    folder: Path, name: str, *, dtype: str = "F32", n_shards: int = 1, n_vocab: int = N_VOCAB
) -> Made:
    """Write the checkpoint called ``name``, without a tokenizer."""
    config = CONFIGS[name] | {"vocab_size": n_vocab}
    rng = np.random.default_rng(len(name))
    shapes = _bert_shapes(config) if name == "bert" else _shapes(config)
    weights = {tensor: _random(rng, tensor, shape, config) for tensor, shape in shapes.items()}
    if dtype == "BF16":
        weights = {name: _truncated(value) for name, value in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save(folder, weights, dtype, n_shards)
    return Made(folder, config, weights)


def save(folder: Path, weights: Weights, dtype: str = "F32", n_shards: int = 1) -> None:
    names = list(weights)
    if n_shards == 1:
        write_safetensors(folder / "model.safetensors", weights, dtype)
        return
    index: dict[str, str] = {}
    for shard in range(n_shards):
        file = f"model-{shard + 1:05}-of-{n_shards:05}.safetensors"
        part = {name: weights[name] for name in names[shard::n_shards]}
        write_safetensors(folder / file, part, dtype)
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def write_safetensors(path: Path, weights: Weights, dtype: str = "F32") -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs: list[bytes] = []
    at = 0
    for name, values in weights.items():
        data = _encoded(values, dtype)
        header[name] = {
            "dtype": dtype,
            "shape": list(values.shape),
            "data_offsets": [at, at + len(data)],
        }
        blobs.append(data)
        at += len(data)
    write_raw(path, json.dumps(header).encode(), b"".join(blobs))


def write_raw(path: Path, header: bytes, data: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def _encoded(values: NDArray[np.float32], dtype: str) -> bytes:
    if dtype == "BF16":
        return (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    return values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def _truncated(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What BF16 holds of them."""
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)


def _random(
    rng: np.random.Generator, name: str, shape: Sequence[int], config: Mapping[str, Any]
) -> NDArray[np.float32]:
    values = rng.standard_normal(shape)
    if "norm" in name.lower() and name.endswith("weight"):
        middle = 0.0 if config["model_type"].startswith("gemma") else 1.0
        return (middle + 0.25 * values).astype(np.float32)
    if name.endswith("bias"):
        return (0.3 * values).astype(np.float32)
    scale = 1.0 if "embed" in name else 1.5 / np.sqrt(shape[-1])
    return (values * scale).astype(np.float32)


def _shapes(c: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    d, f, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    width = c.get("head_dim") or d // c["num_attention_heads"]
    q, kv = c["num_attention_heads"] * width, c["num_key_value_heads"] * width
    kind = c["model_type"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (v, d)}
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        shapes |= {f"{p}input_layernorm.weight": (d,), f"{p}post_attention_layernorm.weight": (d,)}
        if kind in ("gemma2", "gemma3_text"):
            shapes[f"{p}pre_feedforward_layernorm.weight"] = (d,)
            shapes[f"{p}post_feedforward_layernorm.weight"] = (d,)
        a = f"{p}self_attn."
        if kind == "phi3":
            shapes |= {
                f"{a}qkv_proj.weight": (q + 2 * kv, d),
                f"{p}mlp.gate_up_proj.weight": (2 * f, d),
            }
        else:
            for name, rows in (("q", q), ("k", kv), ("v", kv)):
                shapes[f"{a}{name}_proj.weight"] = (rows, d)
                if kind == "qwen2" or c.get("attention_bias"):
                    shapes[f"{a}{name}_proj.bias"] = (rows,)
        shapes[f"{a}o_proj.weight"] = (d, q)
        if kind in ("qwen3", "qwen3_moe", "gemma3_text"):
            shapes |= {f"{a}q_norm.weight": (width,), f"{a}k_norm.weight": (width,)}
        shapes |= _feed_shapes(c, p)
    shapes["model.norm.weight"] = (d,)
    if not c["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (v, d)
    return shapes


def _feed_shapes(c: Mapping[str, Any], p: str) -> dict[str, tuple[int, ...]]:
    d, f = c["hidden_size"], c["intermediate_size"]
    match c["model_type"]:
        case "phi3":
            return {f"{p}mlp.down_proj.weight": (d, f)}
        case "mixtral":
            m, names, n, e = f"{p}block_sparse_moe.", ("w1", "w3", "w2"), c["num_local_experts"], f
        case "qwen3_moe":
            m, names = f"{p}mlp.", ("gate_proj", "up_proj", "down_proj")
            n, e = c["num_experts"], c["moe_intermediate_size"]
        case _:
            m = f"{p}mlp."
            return {
                f"{m}gate_proj.weight": (f, d),
                f"{m}up_proj.weight": (f, d),
                f"{m}down_proj.weight": (d, f),
            }
    shapes: dict[str, tuple[int, ...]] = {f"{m}gate.weight": (n, d)}
    for expert in range(n):
        for name, shape in zip(names, ((e, d), (e, d), (d, e)), strict=True):
            shapes[f"{m}experts.{expert}.{name}.weight"] = shape
    return shapes


def _bert_shapes(c: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    d, f = c["hidden_size"], c["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (c["vocab_size"], d),
        "embeddings.position_embeddings.weight": (c["max_position_embeddings"], d),
        "embeddings.token_type_embeddings.weight": (2, d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
        "pooler.dense.weight": (d, d),
        "pooler.dense.bias": (d,),
    }
    for layer in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{layer}."
        linear = {f"{p}attention.self.{n}": (d, d) for n in ("query", "key", "value")}
        linear[f"{p}attention.output.dense"] = (d, d)
        linear |= {f"{p}intermediate.dense": (f, d), f"{p}output.dense": (d, f)}
        for name, shape in linear.items():
            shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        for norm in (f"{p}attention.output.LayerNorm", f"{p}output.LayerNorm"):
            shapes |= {f"{norm}.weight": (d,), f"{norm}.bias": (d,)}
    return shapes
