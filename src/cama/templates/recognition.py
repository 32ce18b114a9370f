"""Which well-known format a Jinja template writes, told by what it makes of a short conversation.

So every template of a format is known, whoever wrote it and whatever else it can do.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cama.core.errors import CamaError
from cama.templates.formats import FORMATS, Format
from cama.templates.jinja import ChatTemplate
from cama.templates.ollama import OllamaTemplate
from cama.templates.prompt import Template

MAX_DISTANCE: Final = 8
"""Characters by which turns may differ from those of their format; what is not of it differs by
fifteen and more."""

_MAX_TURNS: Final = 1000
_BOS, _EOS = "<s>", "</s>"
_ENDS: Final = re.compile(r"</s>|<\|endoftext\|>")
_SPACE: Final = re.compile(r"\s+")

_SYSTEM: Final = {"role": "system", "content": "S0"}
_TALK: Final[Sequence[Mapping[str, Any]]] = (
    {"role": "user", "content": "Q1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "Q2"},
)


@dataclass(frozen=True, slots=True)
class Recognized:
    """``name`` is one of FORMATS. ``is_exact``: white space is that of the format as well, so that
    the format's template can stand for the one that was recognized."""

    name: str
    is_exact: bool


def recognized(source: str) -> Recognized | None:
    """The format that the Jinja template ``source`` writes; None when it is no known one."""
    try:
        template = ChatTemplate(source, bos=_BOS, eos=_EOS)
        talk = template.render(_TALK)
    except CamaError:
        return None
    if "Q1" not in talk:
        return None
    gap = _gap(template)
    distances = {name: _turns_distance(talk, known) for name, known in FORMATS.items()}
    least = min(distances.values())
    nearest = (name for name, distance in distances.items() if distance == least)
    name = min(nearest, key=lambda one: _gap_distance(gap, FORMATS[one]))
    if least > MAX_DISTANCE:
        return None
    ours, theirs = (_turns(one, FORMATS[name]) for one in (_written(FORMATS[name]), talk))
    return Recognized(name, ours == theirs)


def _written(known: Format) -> str:
    return OllamaTemplate(known.template).render(_TALK)


def _turns_distance(talk: str, known: Format) -> int:
    ours, theirs = _turns(_written(known), known), _turns(talk, known)
    return _distance(_SPACE.sub("", ours), _SPACE.sub("", theirs))


def _turns(talk: str, known: Format) -> str:
    """``talk`` from where its first turn begins, if it is in the format: a text of the system that
    a template brings by itself is none of the format's. Nor are ends of texts: those are a model's.
    """
    start = talk.index("Q1") - len(known.turns.user[0])
    return _ENDS.sub("", talk[max(0, start) :])[:_MAX_TURNS]


def _gap(template: Template) -> str:
    """What stands between the system's text and the user's; empty when the template takes none."""
    try:
        talk = template.render((_SYSTEM, *_TALK))
    except CamaError:
        return ""
    found = re.search("S0(.*?)Q1", talk, re.DOTALL)
    return found[1][:_MAX_TURNS] if found else ""


def _gap_distance(gap: str, known: Format) -> int:
    return _distance(gap, _gap(OllamaTemplate(known.template))) if gap else 0


def _distance(one: str, other: str) -> int:
    """How many characters must be put in, left out or changed (Levenshtein)."""
    if one == other:
        return 0
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            changed = above + (char != wanted)
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, changed)
    return row[-1]
