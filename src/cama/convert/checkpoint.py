"""A checkpoint: the files of a model as Hugging Face keeps them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from cama.convert.config import Config, read_json
from cama.convert.safetensors import SafetensorsFile, Tensor
from cama.core.errors import InvalidModelFile

_INDEX = "model.safetensors.index.json"


class Checkpoint:
    """``files`` are paths by name in the checkpoint's folder; ``name`` is what users call it."""

    def __init__(self, files: Mapping[str, Path], name: str) -> None:
        """Raises InvalidModelFile and StoreError."""
        self.files = files
        self.name = name
        self._shards = {
            file: SafetensorsFile(path)
            for file, path in sorted(files.items())
            if file.endswith(".safetensors")
        }
        self.tensors = dict(self._tensors())
        self._check_index()

    def json(self, name: str) -> Config | None:
        """One of the JSON files, if it is there."""
        path = self.files.get(name)
        return Config(read_json(path), name) if path else None

    def required(self, name: str) -> Config:
        found = self.json(name)
        if found is None:
            raise InvalidModelFile(f"{name} is missing beside the safetensors files", field=name)
        return found

    @property
    def dtype(self) -> str:
        """That of most bytes."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.end - tensor.start
        return max(sizes, key=lambda dtype: sizes[dtype], default="F32")

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        seen: set[str] = set()
        for shard in self._shards.values():
            for name, tensor in shard.items():
                if name in seen:
                    raise shard.invalid(name, "is in another file too")
                seen.add(name)
                yield name, tensor

    def _check_index(self) -> None:
        index = self.json(_INDEX)
        if index is None:
            return
        for name, file in index.part("weight_map").values.items():
            if name not in self._shards.get(str(file), ()):
                raise InvalidModelFile(
                    f"{_INDEX} says that {ascii(name)[:80]} is in {ascii(file)[:80]}, "
                    "which is not there or does not have it",
                    field="weight_map",
                )
