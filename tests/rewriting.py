"""Models made from other models: the same weights under another header."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cama.gguf import GGMLType, GGUFFile, TensorSource, write_gguf
from cama.gguf.encode import Writable


def rewrite(
    source: Path,
    target: Path,
    metadata: Mapping[str, Writable],
    tensors: Mapping[str, NDArray[np.float32]] | None = None,
) -> Path:
    """Copy ``source`` with keys and float32 tensors added or replaced; returns ``target``."""
    with GGUFFile.open(source) as file:
        head = {key: file.typed(key) for key in file.metadata} | dict(metadata)
        kept: Sequence[TensorSource] = [
            TensorSource(t.name, t.type, t.shape, bytes(file.data(t.name)))
            for t in file.tensors.values()
        ]
        added = [
            TensorSource(name, GGMLType.F32, values.shape[::-1], values.tobytes())
            for name, values in (tensors or {}).items()
        ]
        write_gguf(target, head, [*kept, *added])
    return target
