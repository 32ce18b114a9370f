"""Definitions that other installed packages bring.

A package names them in the entry-point group ``cama.models.v1``: the name is the architecture as
files have it, the value ``module:Class``.
"""

import functools
import logging
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import get_type_hints

from cama.core.errors import PluginConflict, UnsupportedModel
from cama.engine.native.nn import BaseConfig, Decoder, Encoder

GROUP = "cama.models.v1"
_OURS = "cama"

Definition = type[Decoder] | type[Encoder]

log = logging.getLogger(__name__)


def find(architecture: str, *, is_ours: bool) -> Definition | None:
    """What a package defines under that name; ``is_ours`` when Cama itself does, too.

    Raises PluginConflict when there are two, UnsupportedModel when the package is broken.
    """
    entries = named().get(architecture, ())
    owners = [*([_OURS] if is_ours else []), *map(_package, entries)]
    if len(owners) > 1:
        raise PluginConflict(
            f"the architecture {architecture!r} is defined more than once, "
            f"by the packages {' and '.join(owners)}: uninstall all but one",
            architecture=architecture,
        )
    return _load(entries[0]) if entries else None


@functools.cache
def named() -> Mapping[str, Sequence[metadata.EntryPoint]]:
    """What installed packages define, by architecture; nothing of them is imported yet."""
    found: dict[str, list[metadata.EntryPoint]] = {}
    for entry in metadata.entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


def _package(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def _load(entry: metadata.EntryPoint) -> Definition:
    """Import a definition of another package, which may fail in any way."""
    try:
        definition = entry.load()
        reason = _flaw(definition)
    except Exception as error:  # noqa: BLE001 - foreign code
        reason = f"{type(error).__name__}: {error}"
    if reason:
        text = f"the definition of {entry.name!r} in the package {_package(entry)} is broken"
        log.error("%s: %s", text, reason)
        raise UnsupportedModel(f"{text}: {reason}")
    found: Definition = definition
    return found


def _flaw(definition: object) -> str:
    """What keeps an object from being a definition; nothing where it is one."""
    if not isinstance(definition, type) or not issubclass(definition, Decoder | Encoder):
        return f"{definition!r} is neither a Decoder nor an Encoder"
    config = get_type_hints(definition)["config"]
    if not isinstance(config, type) or not issubclass(config, BaseConfig):
        return f"its config is {config!r}, which is no BaseConfig"
    return ""
