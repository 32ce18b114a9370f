"""Names of tools for families that write them as identifiers of a programming language."""

import re
from collections.abc import Iterable, Mapping

_ODD = re.compile(r"[^A-Za-z0-9_$]")


def identifiers(names: Iterable[str]) -> Mapping[str, str]:
    """A TypeScript identifier for each name, all different; what is one stays as it is."""
    names = tuple(dict.fromkeys(names))
    taken = {name for name in names if _identifier(name) == name}
    found: dict[str, str] = {}
    for name in names:
        made = wanted = _identifier(name)
        number = 2
        while name != made and made in taken:
            made, number = f"{wanted}_{number}", number + 1
        taken.add(made)
        found[name] = made
    return found


def _identifier(name: str) -> str:
    text = _ODD.sub("_", name)
    return f"_{text}" if text[:1].isdigit() or not text else text
