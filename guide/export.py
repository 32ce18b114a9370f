"""The trained model as a GGUF file, and a GGUF file as a model to train on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cama.ggml.quantize import quantize
from cama.gguf import GGMLType, GGUFFile, TensorSource, write_gguf
from cama.gguf.encode import Writable
from cama.gguf.file_types import FILE_TYPE_NAMES
from guide.model import Llama, Shape
from guide.vocabulary import CHAT_TEMPLATE, END, SPECIAL, Vocabulary

_NORMAL, _CONTROL = 1, 3
_NAMES = (
    ("embedding.weight", "token_embd.weight"),
    ("norm.weight", "output_norm.weight"),
)
_BLOCK_NAMES = (
    ("attn_norm", "attn_norm"),
    ("attn.q", "attn_q"),
    ("attn.k", "attn_k"),
    ("attn.v", "attn_v"),
    ("attn.output", "attn_output"),
    ("ffn_norm", "ffn_norm"),
    ("gate", "ffn_gate"),
    ("up", "ffn_up"),
    ("down", "ffn_down"),
)


def write(path: Path, model: Llama, vocabulary: Vocabulary, file_type: str) -> None:
    """Write ``model`` with its matrices in the ggml type ``file_type``."""
    write_gguf(path, _metadata(model.shape, vocabulary, file_type), _tensors(model, file_type))


def read(path: Path) -> Llama:
    """The model of a file that :func:`write` made, its weights dequantized."""
    with GGUFFile.open(path) as file:
        model = Llama(_shape(file))
        state = {}
        for ours, theirs in _names(model.shape):
            info = file.tensors[theirs]
            values = _dequantize(info.type, file.data(theirs))
            state[ours] = torch.from_numpy(values.reshape(info.shape[::-1]))
    model.load_state_dict(state)
    return model


def _dequantize(kind: GGMLType, data: memoryview) -> NDArray[np.float32]:
    if kind is GGMLType.F32:
        return np.frombuffer(data, np.float32).copy()
    if kind is not GGMLType.Q8_0:
        raise ValueError(f"training goes on from Q8_0 or F32, not from {kind.name}")
    blocks = np.frombuffer(data, np.dtype([("scale", np.float16), ("values", np.int8, 32)]))
    return blocks["scale"].astype(np.float32)[:, None] * blocks["values"]


def _names(shape: Shape) -> Iterator[tuple[str, str]]:
    yield from _NAMES
    for i in range(shape.n_layer):
        for ours, theirs in _BLOCK_NAMES:
            yield f"blocks.{i}.{ours}.weight", f"blk.{i}.{theirs}.weight"


def _tensors(model: Llama, file_type: str) -> Iterator[TensorSource]:
    state = model.state_dict()
    for ours, theirs in _names(model.shape):
        values: NDArray[np.float32] = state[ours].float().numpy()
        kind = GGMLType[file_type] if values.ndim == 2 else GGMLType.F32
        data = values.tobytes() if values.ndim == 1 else quantize(kind, values).tobytes()
        yield TensorSource(theirs, kind, values.shape[::-1], data)


def _metadata(shape: Shape, vocabulary: Vocabulary, file_type: str) -> dict[str, Writable]:
    end = vocabulary.tokens.index(END)
    by_name = {name: number for number, name in FILE_TYPE_NAMES.items()}
    kinds = [_CONTROL if token in SPECIAL else _NORMAL for token in vocabulary.tokens]
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "guide",
        "general.description": "Answers questions about Cama; trained on nothing else.",
        "general.license": "mit",
        "general.file_type": ({"F32": 0} | by_name)[file_type],
        "general.sampling.temp": 0.0,
        "llama.block_count": shape.n_layer,
        "llama.context_length": shape.n_ctx,
        "llama.embedding_length": shape.n_embd,
        "llama.feed_forward_length": shape.n_ff,
        "llama.attention.head_count": shape.n_head,
        "llama.attention.head_count_kv": shape.n_head_kv,
        "llama.attention.key_length": shape.head_dim,
        "llama.attention.value_length": shape.head_dim,
        "llama.attention.layer_norm_rms_epsilon": shape.norm_eps,
        "llama.rope.dimension_count": shape.head_dim,
        "llama.rope.freq_base": shape.rope_base,
        "llama.vocab_size": shape.n_vocab,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": list(vocabulary.tokens),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in vocabulary.merges],
        "tokenizer.ggml.bos_token_id": end,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }


def _shape(file: GGUFFile) -> Shape:
    def number(key: str) -> int:
        return int(file.get(f"llama.{key}"))

    return Shape(
        n_vocab=number("vocab_size"),
        n_layer=number("block_count"),
        n_embd=number("embedding_length"),
        n_head=number("attention.head_count"),
        n_head_kv=number("attention.head_count_kv"),
        head_dim=number("attention.key_length"),
        n_ff=number("feed_forward_length"),
        n_ctx=number("context_length"),
    )
