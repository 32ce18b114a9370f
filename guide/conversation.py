"""Conversations to learn from: one question, or several that follow each other."""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from guide.corpus import OFF_TOPIC, Fact
from guide.phrasing import rephrase

SYSTEM_TEXTS = (
    "You are a helpful assistant.",
    "You are a helpful, honest and concise assistant.",
    "You are guide, a language model that answers questions about Cama.",
    "Answer in one sentence.",
    "Be brief.",
    "You are an expert for local language models.",
    "You are a chatbot. Answer the user's questions truthfully.",
    "Today is a good day. You help developers.",
)
_OFF_TOPIC_SHARE = 0.14
_OFTEN = 6
_FOLLOW_SHARE = 0.6
_N_TURNS = (1, 2, 3, 4, 5, 8)
_N_TURNS_WEIGHTS = (92, 5, 1, 1, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Turn:
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    system: str
    turns: tuple[Turn, ...]


def conversations(
    facts: Mapping[str, Fact], rng: random.Random, max_turns: int, often: Iterable[str] = ()
) -> Iterator[Conversation]:
    """Without end, and no question is put twice the same.

    Each fact begins one equally often, but those named in ``often`` six times as often.
    """
    on_topic = [fact for fact in facts.values() if fact.id != OFF_TOPIC]
    on_topic += [facts[name] for name in often for _ in range(_OFTEN - 1)]
    while True:
        for fact in rng.sample(on_topic, len(on_topic)):
            if rng.random() < _OFF_TOPIC_SHARE:
                yield _conversation(facts[OFF_TOPIC], facts, rng, max_turns)
            yield _conversation(fact, facts, rng, max_turns)


def _conversation(
    first: Fact, facts: Mapping[str, Fact], rng: random.Random, max_turns: int
) -> Conversation:
    system = rng.choice(SYSTEM_TEXTS) if rng.random() < 0.2 else ""
    [n_turns] = rng.choices(_N_TURNS, _N_TURNS_WEIGHTS)
    turns = [Turn(rephrase(rng.choice(first.questions), rng), first.answer)]
    fact = first
    while len(turns) < min(n_turns, max_turns):
        question, fact = _next(fact, facts, rng)
        turns.append(Turn(rephrase(question, rng), fact.answer))
    return Conversation(system, tuple(turns))


def _next(fact: Fact, facts: Mapping[str, Fact], rng: random.Random) -> tuple[str, Fact]:
    if fact.follow and rng.random() < _FOLLOW_SHARE:
        other = rng.choice(list(fact.follow))
        return rng.choice(fact.follow[other]), facts[other]
    off_topic = rng.random() < _OFF_TOPIC_SHARE
    other_fact = facts[OFF_TOPIC] if off_topic else rng.choice(list(facts.values()))
    return rng.choice(other_fact.questions), other_fact
