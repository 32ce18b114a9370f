"""How long ``cama create -q`` takes beside llama.cpp's quantizer alone.

python -m benchmarks.quantize --type Q4_K_M

Both sides quantize the same file, in turns, each in a process of its own. What Cama adds is
starting that process, checking the file, hashing the result and putting it into the store.
"""

import argparse
import ctypes
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.make_model import make_model
from benchmarks.shapes import LLAMA_1B
from cama.gguf.file_types import find_file_type
from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.runner.environment import available_cpus
from cama.store.store import Store


def llama_cpp(source: Path, target: Path, file_type: int) -> None:
    """As the program llama-quantize does it."""
    child = os.fork()
    if child == 0:
        from cama.ggml.llama import llama

        params = llama().llama_model_quantize_default_params()
        params.ftype, params.nthread = file_type, available_cpus()
        paths = os.fsencode(source), os.fsencode(target)
        os._exit(llama().llama_model_quantize(*paths, ctypes.addressof(params)))
    _, status = os.waitpid(child, 0)
    assert status == 0, "llama.cpp could not quantize the model"


def cama(source: Path, folder: Path, kind: str) -> None:
    store = Store(folder)
    modelfile = parse_modelfile(f"FROM {source}\n")
    create_model(store, "m", modelfile, source.parent, lambda _: None, quantize=kind)
    store.delete("m")


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--layers", type=int, default=4, help="of the shape of Llama 3.2 1B")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    file_type = find_file_type(arguments.type)
    if file_type is None:
        sys.exit(f"unknown type {arguments.type}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source.gguf"
        shape = replace(LLAMA_1B, n_layer=arguments.layers, n_vocab=32000)
        make_model(source, shape, "F16")
        sides: dict[str, list[float]] = {"llama.cpp": [], "cama create -q": []}
        for turn in range(arguments.rounds):
            steps = {
                "llama.cpp": lambda: llama_cpp(source, folder / "out.gguf", file_type),
                "cama create -q": lambda: cama(source, folder / "store", arguments.type),
            }
            for side in sorted(steps, reverse=bool(turn % 2)):
                sides[side].append(seconds(steps[side]))
        mib = source.stat().st_size / 2**20
    medians = {side: statistics.median(times) for side, times in sides.items()}
    for side, median in medians.items():
        print(f"{side:<15}{median:8.2f} s {mib / median:8.1f} MiB/s")
    print(f"ratio          {medians['llama.cpp'] / medians['cama create -q']:8.3f}")


if __name__ == "__main__":
    main()
