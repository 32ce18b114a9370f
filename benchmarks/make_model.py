"""Write a random-weight model of a real shape in any GGUF type: for speed and tests, not sense.

python -m benchmarks.make_model llama-1b.gguf --type Q4_K_M [--architecture qwen3]
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.shapes import BENCHMARKS, TINY, Shape, hyperparameters, tensors
from cama.ggml.quantize import quantize
from cama.gguf import GGMLType, GGUFFile, TensorSource, write_gguf
from cama.gguf.encode import Writable
from cama.gguf.file_types import FILE_TYPE_NAMES

__all__ = ["TINY", "Shape", "make_model"]

VOCABULARY = Path("../shared/data/tokenizers/ggml-vocab-llama-bpe.gguf")
_CHUNK_ELEMENTS = 1 << 20
_EXACT = (".bias", "ffn_gate_inp", "shortconv.conv")
"""Parts of names of tensors that files keep in float32."""


CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_model(
    path: Path, shape: Shape, file_type: str, *, seed: int = 0, vocabulary: Path | None = None
) -> None:
    """Write the model. ``file_type`` is a GGML type or a mixture (Q4_K_M, Q5_K_M, …)."""
    if vocabulary is not None:
        with GGUFFile.open(vocabulary) as file:
            tokenizer = {k: file.typed(k) for k in file.metadata if k.startswith("tokenizer.")}
            shape = replace(shape, n_vocab=file.array_length("tokenizer.ggml.tokens"))
            write_gguf(
                path, {**_metadata(shape, file_type), **tokenizer}, _tensors(shape, file_type, seed)
            )
    else:
        metadata = {**_metadata(shape, file_type), **_made_up_vocabulary(shape.n_vocab)}
        write_gguf(path, metadata, _tensors(shape, file_type, seed))


def _metadata(shape: Shape, file_type: str) -> dict[str, Writable]:
    by_name = {name: number for number, name in FILE_TYPE_NAMES.items()}
    return {
        "general.architecture": shape.architecture,
        "general.name": "random weights",
        "general.file_type": by_name.get(file_type, 0),
        **{f"{shape.architecture}.{key}": value for key, value in hyperparameters(shape).items()},
    }


def _made_up_vocabulary(n_vocab: int) -> dict[str, Writable]:
    """A SentencePiece vocabulary: three controls, every byte, then made-up words."""
    n_words = n_vocab - 259
    assert n_words >= 0, "a vocabulary needs at least 259 tokens"
    letters = [f"▁{chr(97 + i % 26)}" for i in range(26)]
    words = [*letters, *(f"▁{'abcdefghij'[i % 10]}{i}" for i in range(n_words))][:n_words]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *words]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(i) for i in range(len(words))],
        "tokenizer.ggml.token_type": [2, 3, 3, *([6] * 256), *([1] * len(words))],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }


def _tensors(shape: Shape, file_type: str, seed: int) -> Iterator[TensorSource]:
    rng = np.random.default_rng(seed)
    for name, ne in tensors(shape):
        kind = _tensor_type(name, ne, shape, file_type)
        yield TensorSource(name, kind, ne, _random(kind, ne, name, int(rng.integers(1 << 32))))


def _tensor_type(name: str, ne: tuple[int, ...], shape: Shape, file_type: str) -> GGMLType:
    """llama.cpp's mixtures: output, and values and ffn_down of half the layers, in more bits."""
    if len(ne) == 1 or any(part in name for part in _EXACT):
        return GGMLType.F32
    if file_type == "MXFP4_MOE":  # as gpt-oss comes
        return GGMLType.MXFP4 if "_exps" in name else GGMLType.Q8_0
    base, _, mixture = file_type.partition("_K_")
    if not mixture:
        return GGMLType[file_type]
    kind, better = GGMLType[f"{base}_K"], GGMLType.Q6_K
    is_output = name == ("token_embd.weight" if shape.is_tied else "output.weight")
    if is_output:
        return better
    if mixture != "S" and ("attn_v" in name or "ffn_down" in name):
        layer, n = int(name.split(".")[1]), shape.n_layer
        if layer < n // 8 or layer >= 7 * n // 8 or (layer - n // 8) % 3 == 2:
            return better
    return kind


def _random(
    kind: GGMLType, ne: tuple[int, ...], name: str, seed: int
) -> bytes | Callable[[], Iterator[bytes]]:
    rng = np.random.default_rng(seed)
    if len(ne) == 1:
        middle = 0.0 if name.endswith(".bias") else 1.0
        return (middle + 0.1 * rng.standard_normal(ne[0])).astype(np.float32).tobytes()

    def chunks() -> Iterator[bytes]:
        """A million random elements, quantized once and then repeated with the rows rotated."""
        n_row, n_rows = ne[0], math.prod(ne[1:])
        n_chunk = min(n_rows, max(1, _CHUNK_ELEMENTS // n_row))
        values = rng.standard_normal((n_chunk, n_row), np.float32) / np.float32(math.sqrt(n_row))
        rows = quantize(kind, values)
        for first in range(0, n_rows, n_chunk):
            turned = np.roll(rows, int(rng.integers(n_chunk)), axis=0)
            yield turned[: n_rows - first].tobytes()

    return chunks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--architecture", choices=BENCHMARKS, default="llama")
    parser.add_argument("--tiny", action="store_true", help="a model of a few hundred kilobytes")
    arguments = parser.parse_args()
    if arguments.tiny:
        make_model(arguments.path, TINY, arguments.type)
    else:
        vocabulary = VOCABULARY if VOCABULARY.is_file() else None
        shape = BENCHMARKS[arguments.architecture]
        make_model(arguments.path, shape, arguments.type, vocabulary=vocabulary)
    print(f"{arguments.path}: {arguments.path.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
