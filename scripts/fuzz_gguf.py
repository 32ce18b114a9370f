"""Feed damaged GGUF files to the reader: each must be read, or refused with InvalidModelFile.

    fuzz_gguf.py [--seconds N] [--seed N] [--own] [FILE ...]

Starts from files of its own and from FILEs. Uses atheris when it is installed (--own: never),
otherwise mutates by itself, repeatably for a seed. A file that breaks the reader is saved in the
working folder, and the exit status is 1.
"""

import argparse
import hashlib
import importlib
import importlib.util
import random
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cama.core.errors import InvalidModelFile
from cama.gguf import (
    F64,
    U16,
    U64,
    Array,
    GGMLType,
    GGUFFile,
    TensorSource,
    ValueType,
    Writable,
    write_gguf,
)

MAX_SEED_BYTES = 1 << 20
INTERESTING = (0, 1, 2, 7, 8, 9, 31, 32, 63, 64, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31,
               2**32 - 1, 2**32, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1)  # fmt: skip

Mutation = Callable[[random.Random, bytearray], None]


def check(data: bytes) -> bool:
    """Read all there is; whether the file was accepted. Anything but InvalidModelFile escapes."""
    try:
        with GGUFFile(data, Path("fuzzed.gguf")) as file:
            for key in file.metadata:
                file.typed(key)
            for tensor in file.tensors.values():
                assert len(file.data(tensor.name)) == tensor.n_bytes
    except InvalidModelFile:
        return False
    return True


def valid_files() -> list[bytes]:
    """Small files that together have every value type and several tensor types."""
    tokens = [f"t{i}" * (i % 5) for i in range(150)]
    rich: dict[str, Writable] = {
        "general.architecture": "llama",
        "general.alignment": 64,
        "flag": True,
        "flags": [True, False],
        "ratio": 0.5,
        "exact": F64(0.1),
        "small": [-1, 2],
        "half": U16(9),
        "large": U64(2**63),
        "bytes": Array(ValueType.UINT8, list(range(40))),
        "none": Array(ValueType.STRING, []),
        "tokenizer.ggml.tokens": tokens,
    }
    tensors = [
        TensorSource("token_embd.weight", GGMLType.Q8_0, (32, 3), bytes(102)),
        TensorSource("blk.0.attn_q.weight", GGMLType.F16, (4, 3, 2), bytes(48)),
        TensorSource("output_norm.weight", GGMLType.F32, (5,), bytes(20)),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "seed.gguf")
        write_gguf(path, rich, tensors, alignment=64)
        with_tensors = path.read_bytes()
        write_gguf(path, {"tokenizer.ggml.tokens": tokens}, [])
        return [with_tensors, path.read_bytes()]


def flip(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def put_number(rng: random.Random, data: bytearray) -> None:
    value = rng.choice(INTERESTING) + rng.choice((0, 0, 1, -1))
    raw = struct.pack("<Q", value % 2**64)[: rng.choice((1, 2, 4, 8))]
    at = rng.randrange(len(data))
    data[at : at + len(raw)] = raw


def truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) + 1 :]


def remove(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[max(at, 1) : at + rng.randrange(1, 33)]


def repeat(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    piece = data[at : at + rng.randrange(1, 65)]
    where = rng.randrange(len(data))
    data[where:where] = piece


MUTATIONS: Sequence[Mutation] = (flip, flip, put_number, put_number, truncate, remove, repeat)


def mutate(rng: random.Random, data: bytes) -> bytes:
    """``data`` with one to four changes."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        rng.choice(MUTATIONS)(rng, changed)
    return bytes(changed)


def fuzz(seeds: Sequence[bytes], seconds: float, seed: int) -> int:
    """Mutate and check until the time is up; the exit status."""
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    accepted = refused = 0
    while time.monotonic() < end:
        data = mutate(rng, rng.choice(seeds))
        try:
            if check(data):
                accepted += 1
            else:
                refused += 1
        except Exception:
            path = Path(f"crash-{hashlib.sha256(data).hexdigest()[:16]}.gguf")
            path.write_bytes(data)
            print(f"the reader broke on {path}", file=sys.stderr)
            raise
    print(f"{accepted + refused} files: {accepted} read, {refused} refused")
    return 0


def fuzz_with_atheris(seeds: Sequence[bytes], seconds: float, seed: int) -> int:
    """The same under coverage feedback; atheris ends the process itself."""
    atheris = importlib.import_module("atheris")
    with tempfile.TemporaryDirectory() as folder:
        for i, data in enumerate(seeds):
            Path(folder, f"{i}.gguf").write_bytes(data)
        arguments = [f"-max_total_time={max(1, round(seconds))}", f"-seed={seed}", folder]
        atheris.Setup([sys.argv[0], *arguments], lambda data: check(bytes(data)) and None)
        atheris.instrument_all()
        atheris.Fuzz()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own", action="store_true", help="never use atheris")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    seeds = valid_files()
    for path in options.files:
        with path.open("rb") as file:
            seeds.append(file.read(MAX_SEED_BYTES))
    has_atheris = importlib.util.find_spec("atheris") is not None
    run = fuzz_with_atheris if has_atheris and not options.own else fuzz
    return run(seeds, options.seconds, options.seed)


if __name__ == "__main__":
    sys.exit(main())
