"""Conversations as tokens to learn from."""

from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import Tokenizer

from guide.conversation import Conversation
from guide.vocabulary import ASSISTANT, END, SYSTEM, USER, Vocabulary

QUESTION_WEIGHT, ANSWER_WEIGHT, CHOICE_WEIGHT = 0.1, 1.0, 4.0
"""How much predicting a token counts: one of a question, one of an answer, and one of an answer at
which another answer goes on differently. Those choices are what a question decides; the rest is
learnt by heart, and soon."""


MERGE_DROPOUT = 0.1
"""How often a merge of the vocabulary is left out in a question: so the model sees what words are
made of, and knows those that it never met (Provilkov et al., "BPE-Dropout", 2020)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids of a conversation, and how much predicting each of them counts."""

    ids: list[int]
    weights: list[float]

    def add(self, ids: Iterable[int], weight: float) -> None:
        for token in ids:
            self.ids.append(token)
            self.weights.append(weight)


@dataclass(frozen=True, slots=True)
class Answer:
    """Token ids of an answer with its end, and the indices of those that are choices."""

    ids: tuple[int, ...]
    choices: frozenset[int]

    @property
    def n_decided(self) -> int:
        """After so many tokens it is no other answer."""
        return max(self.choices, default=0) + 1


class Encoder:
    """Turns conversations into samples, in the form that the chat template gives them.

    ``answers`` are all that the model learns.
    """

    def __init__(self, vocabulary: Vocabulary, answers: Iterable[str]) -> None:
        self._tokenizer = vocabulary.tokenizer()
        self._loose_tokenizer = vocabulary.tokenizer(dropout=MERGE_DROPOUT)
        encoded = {text: tuple(self.encode(text + END)) for text in answers}
        following: dict[tuple[int, ...], set[int]] = {}
        for ids in encoded.values():
            for i, token in enumerate(ids):
                following.setdefault(ids[:i], set()).add(token)
        self.answers = {
            text: Answer(ids, frozenset(i for i in range(len(ids)) if len(following[ids[:i]]) > 1))
            for text, ids in encoded.items()
        }

    def encode(self, text: str) -> list[int]:
        return _ids(self._tokenizer, text)

    def prompt(self, question: str) -> list[int]:
        return self.encode(USER + question + END + ASSISTANT)

    def __call__(self, conversation: Conversation, *, is_cut: bool) -> Sample:
        """The whole conversation, or one that ends where its answer is decided."""
        sample = Sample([], [])
        if conversation.system:
            sample.add(self.encode(SYSTEM + conversation.system + END), 0.0)
        for turn in conversation.turns:
            is_last = turn is conversation.turns[-1]
            answer = self.answers[turn.answer]
            self._add_turn(sample, turn.question, answer, is_cut=is_cut and is_last)
        return sample

    def _add_turn(self, sample: Sample, question: str, answer: Answer, *, is_cut: bool) -> None:
        sample.add(self.encode(USER), 0.0)
        sample.add(_ids(self._loose_tokenizer, question), QUESTION_WEIGHT)
        sample.add(self.encode(END + ASSISTANT), 0.0)
        for i, token in enumerate(answer.ids[: answer.n_decided if is_cut else None]):
            sample.add([token], CHOICE_WEIGHT if i in answer.choices else ANSWER_WEIGHT)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids
