"""Write a camel of random weights: ``python -m cama_camel.write camel.gguf``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cama.gguf import GGMLType, TensorSource, Writable, write_gguf

N_VOCAB, N_EMBD, N_LAYER, N_HEAD, N_HEAD_KV, HEAD, N_FF = 320, 64, 3, 4, 2, 16, 128
EPSILON, ROPE_BASE, HUMP_SCALE = 1e-5, 10000.0, 0.25

Weights = dict[str, NDArray[np.float32]]


def weights(seed: int = 0) -> Weights:
    """Matrices as NumPy has them, (n_out, n_in)."""
    rng = np.random.default_rng(seed)

    def matrix(n_out: int, n_in: int) -> NDArray[np.float32]:
        values = rng.standard_normal((n_out, n_in), np.float32)
        return values / np.float32(np.sqrt(n_in))

    def norm(n: int) -> NDArray[np.float32]:
        return (1 + 0.1 * rng.standard_normal(n)).astype(np.float32)

    made = {"token_embd.weight": 4 * matrix(N_VOCAB, N_EMBD), "output_norm.weight": norm(N_EMBD)}
    for i in range(N_LAYER):
        block = {
            "attn_norm": norm(N_EMBD),
            "attn_q": matrix(N_HEAD * HEAD, N_EMBD),
            "attn_k": matrix(N_HEAD_KV * HEAD, N_EMBD),
            "attn_v": matrix(N_HEAD_KV * HEAD, N_EMBD),
            "attn_q_norm": norm(HEAD),
            "attn_k_norm": norm(HEAD),
            "attn_output": matrix(N_EMBD, N_HEAD * HEAD),
            "hump_1.up": matrix(N_FF, N_EMBD),
            "hump_1.down": matrix(N_EMBD, N_FF),
            "hump_2.up": matrix(N_FF, N_EMBD),
            "hump_2.down": matrix(N_EMBD, N_FF),
        }
        made |= {f"blk.{i}.{name}.weight": values for name, values in block.items()}
    return made


def write(path: Path, values: Weights) -> None:
    write_gguf(path, {**_hyperparameters(), **_vocabulary()}, _tensors(values))


def _hyperparameters() -> dict[str, Writable]:
    keys: dict[str, Writable] = {
        "block_count": N_LAYER,
        "context_length": 512,
        "embedding_length": N_EMBD,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": N_HEAD_KV,
        "attention.key_length": HEAD,
        "attention.value_length": HEAD,
        "attention.layer_norm_rms_epsilon": EPSILON,
        "rope.freq_base": ROPE_BASE,
        "hump_scale": HUMP_SCALE,
    }
    return {
        "general.architecture": "camel",
        "general.name": "A camel of random weights",
        **{f"camel.{key}": value for key, value in keys.items()},
    }


def _vocabulary() -> dict[str, Writable]:
    """SentencePiece: three controls, every byte, and a few pieces."""
    pieces = [f"▁{chr(97 + i % 26)}{i // 26 or ''}" for i in range(N_VOCAB - 259)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [
            "<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *pieces
        ],
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(i) for i in range(len(pieces))],
        "tokenizer.ggml.token_type": [2, 3, 3, *([6] * 256), *([1] * len(pieces))],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }  # fmt: skip


def _tensors(values: Weights) -> Iterator[TensorSource]:
    for name, array in values.items():
        # ggml names the contiguous dimension first, NumPy last
        yield TensorSource(name, GGMLType.F32, array.shape[::-1], array.tobytes())


if __name__ == "__main__":
    write(Path(sys.argv[1]), weights())
