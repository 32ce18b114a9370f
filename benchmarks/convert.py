"""How long ``cama create`` takes to convert a folder, beside copying and hashing as many bytes.

python -m benchmarks.convert

A store must at least write a model's bytes and know their digest. What Cama adds is a process,
renaming, re-ordering and padding tensors. The sides take turns on a Llama of random BF16 weights.
"""

import argparse
import hashlib
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quantize import seconds
from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.store.store import Store

_CHUNK_BYTES = 4 << 20
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "vocab_size": 32000,
}


def make_folder(folder: Path, n_layer: int) -> None:
    """A checkpoint of the shape of Llama 3.2 1B, with fewer layers and tokens."""
    folder.mkdir()
    d, f, kv = CONFIG["hidden_size"], CONFIG["intermediate_size"], 512
    shapes = {"model.embed_tokens.weight": (CONFIG["vocab_size"], d), "model.norm.weight": (d,)}
    for layer in range(n_layer):
        p = f"model.layers.{layer}."
        matrices = {"q": (d, d), "k": (kv, d), "v": (kv, d), "o": (d, d)}
        shapes |= {f"{p}self_attn.{n}_proj.weight": shape for n, shape in matrices.items()}
        shapes |= {f"{p}mlp.{n}_proj.weight": (f, d) for n in ("gate", "up")}
        shapes |= {f"{p}mlp.down_proj.weight": (d, f)}
        shapes |= {f"{p}{n}_layernorm.weight": (d,) for n in ("input", "post_attention")}
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": n_layer}))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    raw = json.dumps(header).encode()
    random = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for entry in header.values():
            values = random.standard_normal(entry["shape"], np.float32)
            file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())


def _tokenizer() -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": _LLAMA3}, "behavior": "Isolated"}
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    vocab = {f"t{i}": i for i in range(CONFIG["vocab_size"])}
    return {
        "model": {"type": "BPE", "vocab": vocab, "merges": ["t 1"], "ignore_merges": True},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
    }


def copy(source: Path, target: Path) -> None:
    digest = hashlib.sha256()
    with source.open("rb") as old, target.open("wb") as new:
        while piece := old.read(_CHUNK_BYTES):
            digest.update(piece)
            new.write(piece)
        os.fsync(new.fileno())


def create(source: Path, folder: Path) -> None:
    store = Store(folder)
    create_model(store, "m", parse_modelfile(f"FROM {source}\n"), source.parent, lambda _: None)
    store.delete("m")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder / "hf", arguments.layers)
        weights = folder / "hf" / "model.safetensors"
        steps: dict[str, Callable[[], None]] = {
            "copy and hash": lambda: copy(weights, folder / "copy"),
            "cama create": lambda: create(folder / "hf", folder / "store"),
        }
        sides: dict[str, list[float]] = {side: [] for side in steps}
        for turn in range(arguments.rounds):
            for side in sorted(steps, reverse=bool(turn % 2)):
                sides[side].append(seconds(steps[side]))
        mib = weights.stat().st_size / 2**20
    medians = {side: statistics.median(times) for side, times in sides.items()}
    for side, median in medians.items():
        print(f"{side:<15}{median:8.2f} s {mib / median:8.1f} MiB/s")
    print(f"ratio          {medians['copy and hash'] / medians['cama create']:8.3f}")


if __name__ == "__main__":
    main()
