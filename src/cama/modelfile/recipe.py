"""A recipe: all that a new model is made of, read from a Modelfile or from a request."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cama.core.errors import InvalidModelfile, InvalidOption, ModelNotFound
from cama.modelfile.parameters import add_parameter
from cama.modelfile.parser import Modelfile, invalid_at
from cama.modelfile.sources import Source, source_at
from cama.store.plain import is_explicit_path

_SEMVER = re.compile(
    r"v?(\d+(?:\.\d+(?:\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)?)?)", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``models`` are names of existing models, ``drafts`` small ones that guess for it.

    What is empty is inherited from the model; ``params`` are merged over its own. ``quantize`` is
    the name of a file type; ``info`` are facts that replace those of the files.
    """

    models: tuple[str, ...] = ()
    files: tuple[Source, ...] = ()
    adapters: tuple[Source, ...] = ()
    drafts: tuple[Source, ...] = ()
    quantize: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
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
    models: list[str] = []
    files: list[Source] = []
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
        adapters=_find_file(adapter, folder) if adapter else (),
        drafts=_find_drafts(modelfile, folder),
        template=modelfile.last("template"),
        system=modelfile.last("system"),
        renderer=modelfile.last("renderer"),
        parser=modelfile.last("parser"),
        requires=_requires(modelfile),
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


def _requires(modelfile: Modelfile) -> str:
    commands = modelfile.all("requires")
    try:
        return read_version(commands[-1].value) if commands else ""
    except InvalidModelfile as error:
        raise invalid_at(commands[-1].line, error.message) from None


def _params(modelfile: Modelfile, warn: Callable[[str], None]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for command in modelfile.all("parameter"):
        try:
            add_parameter(values, command.argument, command.value, warn)
        except InvalidOption as error:
            raise invalid_at(command.line, error.message, **error.fields) from None
    return values


def _find_files(text: str, folder: Path) -> tuple[Source, ...]:
    """The files that a FROM names; none when it names a model."""
    path = _local(text, folder)
    if path is None:
        if is_explicit_path(text):
            raise ModelNotFound(f"there is no file {text!r}", name=text)
        return ()
    return source_at(path)


def _find_file(text: str, folder: Path) -> tuple[Source, ...]:
    """The files that an ADAPTER or a DRAFT names."""
    path = _local(text, folder)
    if path is None:
        raise ModelNotFound(f"there is no file {text!r}", name=text)
    return source_at(path)


def _find_drafts(modelfile: Modelfile, folder: Path) -> tuple[Source, ...]:
    models = {_local(command.value, folder) for command in modelfile.all("from")}
    for command in modelfile.all("draft"):
        if _local(command.value, folder) in models:
            raise invalid_at(
                command.line,
                f"DRAFT must not reference the same local path as FROM: {command.value}",
            )
    values = dict.fromkeys(command.value for command in modelfile.all("draft"))
    return tuple(source for text in values for source in _find_file(text, folder))


def _local(text: str, folder: Path) -> Path | None:
    """``text`` as an existing path, relative to ``folder``; None when there is none."""
    if not text or "\0" in text:
        raise InvalidModelfile(f"not a path or a model name: {text!r}")
    path = folder / os.path.expanduser(text)
    return path if os.path.exists(path) else None
