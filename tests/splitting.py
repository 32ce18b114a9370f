"""A model split over several files, as llama.cpp's gguf-split leaves it."""

from pathlib import Path

from cama.gguf import GGUFFile, TensorSource, write_gguf
from cama.gguf.encode import Writable
from cama.gguf.values import I32, U16


def split(source: Path, folder: Path, name: str, count: int) -> list[Path]:
    """Write the parts of ``source`` into ``folder``; only the first has the metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{i + 1:05d}-of-{count:05d}.gguf" for i in range(count)]
    with GGUFFile.open(source) as file:
        head: dict[str, Writable] = {key: file.typed(key) for key in file.metadata}
        tensors = [
            TensorSource(t.name, t.type, t.shape, bytes(file.data(t.name)))
            for t in file.tensors.values()
        ]
        for number, path in enumerate(paths):
            about: dict[str, Writable] = {
                "split.no": U16(number),
                "split.count": U16(count),
                "split.tensors.count": I32(len(tensors)),
            }
            first, last = (len(tensors) * n // count for n in (number, number + 1))
            write_gguf(path, (head | about) if number == 0 else about, tensors[first:last])
    return paths
