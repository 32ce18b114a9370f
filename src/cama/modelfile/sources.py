"""What a new model's weights are made of: GGUF files, and sets of safetensors files."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cama.core.errors import InvalidModelfile, Unsupported

_SAFETENSORS: Final = (
    "model*.safetensors",
    "adapters.safetensors",
    "adapter_model.safetensors",
    "*.safetensors",
)
_PYTORCH: Final = ("pytorch_model*.bin", "consolidated*.pth", "*.bin", "*.pth")
_BESIDE: Final = ("*.json", "*.jinja", "tokenizer.model", "vocab.txt", "*/config.json")
_NO_PYTORCH: Final = (
    "PyTorch files cannot be converted, for they can hold any program: save them as safetensors"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A set of safetensors files and what lies beside them, by name in their folder.

    ``name`` is how users know it.
    """

    name: str
    files: Mapping[str, Path]


Source = Path | Checkpoint


def is_safetensors(name: str) -> bool:
    return name.endswith(".safetensors")


def source_at(path: Path) -> tuple[Source, ...]:
    """The weights at an existing path. Raises InvalidModelfile and Unsupported."""
    if path.is_dir():
        return _in_folder(path)
    if is_safetensors(path.name):
        return (_checkpoint(path.parent, [path]),)
    if path.suffix in (".bin", ".pth", ".pt"):
        raise Unsupported(_NO_PYTORCH, path=str(path))
    return (path,)


def _in_folder(folder: Path) -> tuple[Source, ...]:
    home = Path(os.path.realpath(folder))
    for pattern in _SAFETENSORS:
        if files := sorted(folder.glob(pattern)):
            return (_checkpoint(folder, files),)
    if files := sorted(folder.glob("*.gguf")):
        _require_inside(home, files)
        return tuple(files)
    if any(any(folder.glob(pattern)) for pattern in _PYTORCH):
        raise Unsupported(_NO_PYTORCH, path=str(home))
    raise InvalidModelfile(
        f"no Modelfile, GGUF or safetensors files found in {home}", path=str(home)
    )


def _checkpoint(folder: Path, weights: Iterable[Path]) -> Checkpoint:
    beside = [path for pattern in _BESIDE for path in sorted(folder.glob(pattern))]
    files = [path for path in (*weights, *beside) if path.is_file()]
    home = Path(os.path.realpath(folder))
    _require_inside(home, files)
    return Checkpoint(home.name, {path.relative_to(folder).as_posix(): path for path in files})


def _require_inside(home: Path, files: Iterable[Path]) -> None:
    for file in files:
        if home not in Path(os.path.realpath(file)).parents:
            hint = (
                ": download with --local-dir, not into the cache" if ".cache" in home.parts else ""
            )
            raise InvalidModelfile(f"insecure path: {file}{hint}", path=str(file))
