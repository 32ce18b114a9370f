"""The facts that the model learns, and the questions that it is examined with."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
HELD_OUT = FOLDER / "held-out.toml"
HELD_OUT_OFF_TOPIC = FOLDER / "off-topic.toml"
OFF_TOPIC = "talk-off-topic"
"""The fact whose questions are to be declined."""


@dataclass(frozen=True, slots=True)
class Fact:
    """An answer, phrases that prove it was given, and the ways to ask for it.

    ``follow`` has, by the id of another fact, what is asked for that one right after this answer.
    """

    id: str
    answer: str
    keys: tuple[str, ...]
    questions: tuple[str, ...]
    follow: Mapping[str, tuple[str, ...]]

    def is_in(self, text: str) -> bool:
        """Whether ``text`` answers with this fact."""
        lower = text.lower()
        return all(key.lower() in lower for key in self.keys)


@dataclass(frozen=True, slots=True)
class Examination:
    """A question that is never trained on, and the fact that answers it."""

    fact: str
    question: str


def load_facts(folder: Path = FOLDER / "corpus") -> dict[str, Fact]:
    """All facts by their ids, in the order of the files. Raises ValueError naming what is wrong."""
    facts: dict[str, Fact] = {}
    for path in sorted(folder.glob("*.toml")):
        for name, table in tomllib.loads(path.read_text()).items():
            if name in facts:
                raise ValueError(f"{path.name}: {name} is in another file too")
            facts[name] = _fact(name, table, path.name)
    for fact in facts.values():
        if unknown := fact.follow.keys() - facts.keys():
            raise ValueError(f"{fact.id} is followed by unknown {', '.join(sorted(unknown))}")
    return facts


def _fact(name: str, table: dict[str, Any], file: str) -> Fact:
    follow = {other: tuple(ways) for other, ways in table.pop("follow", {}).items()}
    try:
        keys, questions = tuple(table.pop("keys")), tuple(table.pop("questions"))
        fact = Fact(name, table.pop("answer"), keys, questions, follow)
    except KeyError as error:
        raise ValueError(f"{file}: {name} has no {error}") from None
    if table:
        raise ValueError(f"{file}: {name} has unknown {', '.join(table)}")
    if not fact.keys or not fact.is_in(fact.answer):
        raise ValueError(f"{file}: the answer of {name} lacks one of its keys")
    return fact


def load_examination(path: Path) -> list[Examination]:
    """The questions of a file that has them by the ids of their facts."""
    tables = tomllib.loads(path.read_text())
    return [Examination(fact, question) for fact, asked in tables.items() for question in asked]
