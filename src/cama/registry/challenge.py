"""``WWW-Authenticate``: what a registry wants before it answers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SCHEME = re.compile(r"\s*([A-Za-z0-9_-]+)(?:\s+|$)")
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,\s*|$)')
_MAX_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """``scheme`` is in lower case: ``basic``, ``bearer``."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenge(text: str) -> Challenge:
    """The first challenge of a header; what is no parameter ends it."""
    scheme = _SCHEME.match(text[:_MAX_LENGTH])
    if scheme is None:
        return Challenge("")
    parameters: dict[str, str] = {}
    position = scheme.end()
    while found := _PARAMETER.match(text, position, _MAX_LENGTH):
        name, quoted, plain = found.groups()
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        parameters.setdefault(name.lower(), value)
        position = found.end()
    return Challenge(scheme[1].lower(), parameters)
