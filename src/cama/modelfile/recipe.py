"""A recipe: all that a new model is made of, read from a Modelfile or from a request."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cama.core.errors import InvalidModelfile, InvalidOption, ModelNotFound, Unsupported
from cama.modelfile.parameters import add_parameter
from cama.modelfile.parser import Modelfile, invalid_at
from cama.store.plain import is_explicit_path

_SEMVER = re.compile(
    r"v?(\d+(?:\.\d+(?:\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)?)?)", re.ASCII
)
_SAFETENSORS: Final = ("*.safetensors", "pytorch_model*.bin", "consolidated*.pth")
_NO_SAFETENSORS: Final = "creating a model from safetensors or PyTorch files is not available yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``models`` are names of existing models, ``files`` and ``adapters`` GGUF files.

    What is empty is inherited from the model; ``params`` are merged over its own.
    """

    models: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    adapters: tuple[Path, ...] = ()
    template: str = ""
    system: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    licenses: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, Any], ...] = ()


def read_recipe(modelfile: Modelfile, folder: Path, warn: Callable[[str], None]) -> Recipe:
    """What a Modelfile in ``folder`` asks for; files are looked for but not opened.

    Raises InvalidModelfile, InvalidOption, ModelNotFound, Unsupported.
    """
    if modelfile.all("draft"):
        raise Unsupported("DRAFT is not available yet")
    models: list[str] = []
    files: list[Path] = []
    for text in dict.fromkeys(command.value for command in modelfile.all("from")):
        found = _find_files(text, folder)
        if found:
            files += found
        else:
            models.append(text)
    adapter = modelfile.last("adapter")
    return Recipe(
        models=tuple(models),
        files=tuple(files),
        adapters=_find_adapter(adapter, folder) if adapter else (),
        template=modelfile.last("template"),
        system=modelfile.last("system"),
        renderer=modelfile.last("renderer"),
        parser=modelfile.last("parser"),
        requires=read_version(modelfile.last("requires")),
        licenses=tuple(command.value for command in modelfile.all("license")),
        params=_params(modelfile, warn),
        messages=tuple(
            {"role": command.argument, "content": command.value}
            for command in modelfile.all("message")
        ),
    )


def read_version(text: str) -> str:
    """A version without its ``v``; empty stays empty. Raises InvalidModelfile."""
    found = _SEMVER.fullmatch(text)
    if text and not found:
        raise InvalidModelfile("requires must be a valid semver (e.g. 0.14.0)")
    return found[1] if found else ""


def _params(modelfile: Modelfile, warn: Callable[[str], None]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for command in modelfile.all("parameter"):
        try:
            add_parameter(values, command.argument, command.value, warn)
        except InvalidOption as error:
            raise invalid_at(command.line, error.message, **error.fields) from None
    return values


def _find_files(text: str, folder: Path) -> tuple[Path, ...]:
    """The files that a FROM names; none when it names a model."""
    path = _local(text, folder)
    if path is None:
        if is_explicit_path(text):
            raise ModelNotFound(f"there is no file {text!r}", name=text)
        return ()
    return _in_folder(path) if path.is_dir() else (_weights(path),)


def _find_adapter(text: str, folder: Path) -> tuple[Path, ...]:
    path = _local(text, folder)
    if path is None:
        raise ModelNotFound(f"there is no file {text!r}", name=text)
    return _in_folder(path) if path.is_dir() else (_weights(path),)


def _local(text: str, folder: Path) -> Path | None:
    """``text`` as an existing path, relative to ``folder``; None when there is none."""
    if not text or "\0" in text:
        raise InvalidModelfile(f"not a path or a model name: {text!r}")
    path = folder / os.path.expanduser(text)
    return path if os.path.exists(path) else None


def _in_folder(folder: Path) -> tuple[Path, ...]:
    """The GGUF files of a folder. Raises InvalidModelfile and Unsupported."""
    if any(any(folder.glob(pattern)) for pattern in _SAFETENSORS):
        raise Unsupported(_NO_SAFETENSORS)
    home = Path(os.path.realpath(folder))
    files = tuple(sorted(folder.glob("*.gguf")))
    if not files:
        raise InvalidModelfile(f"no Modelfile or GGUF files found in {home}", path=str(home))
    for file in files:
        if home not in Path(os.path.realpath(file)).parents:
            raise InvalidModelfile(f"insecure path: {file}", path=str(file))
    return files


def _weights(path: Path) -> Path:
    if path.suffix in (".safetensors", ".bin", ".pth"):
        raise Unsupported(_NO_SAFETENSORS, path=str(path))
    return path
