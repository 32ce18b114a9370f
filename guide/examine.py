"""How well a model answers questions that it was never trained on.

python -m guide.examine [MODEL.gguf]
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from cama.core.errors import CamaError
from cama.core.generation import Chunk, Event, Generation, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Plan, SeqId, Span
from cama.engine.logprobs import logprobs_of
from cama.engine.loop import Loop
from cama.engine.select import open_engine
from cama.gguf import GGUFFile
from cama.store.bundled import FOLDER
from cama.templates.jinja import ChatTemplate
from guide.corpus import (
    HELD_OUT,
    HELD_OUT_OFF_TOPIC,
    Examination,
    Fact,
    load_examination,
    load_facts,
)

SHIPPED = FOLDER / "guide.gguf"
MAX_TOKENS = 160


@dataclass(frozen=True, slots=True)
class Answered:
    """A question of the examination, what was expected and what was said."""

    question: str
    fact: Fact
    answer: str

    @property
    def is_right(self) -> bool:
        return self.fact.is_in(self.answer)


class Examinee:
    """A model with its engine and its chat template."""

    def __init__(self, engine: Engine, template: ChatTemplate) -> None:
        self._engine = engine
        self._template = template
        self._loop = Loop(engine)

    def answer(self, conversations: Sequence[Sequence[str]]) -> list[str]:
        """The greedy answers to the last of each list of questions, all in one batch.

        The earlier questions of a list stand with their own answers, in turn.
        """
        return self._generate([self._prompt(questions) for questions in conversations])

    def examine(
        self, examination: Sequence[Examination], facts: Mapping[str, Fact]
    ) -> list[Answered]:
        answers = self.answer([[asked.question] for asked in examination])
        return [
            Answered(asked.question, facts[asked.fact], answer)
            for asked, answer in zip(examination, answers, strict=True)
        ]

    def _prompt(self, questions: Sequence[str]) -> str:
        messages: list[dict[str, str]] = []
        for question in questions:
            if messages:
                [answer] = self._generate([self._template.render(messages)])
                messages.append({"role": "assistant", "content": answer})
            messages.append({"role": "user", "content": question})
        return self._template.render(messages)

    def _generate(self, prompts: Sequence[str]) -> list[str]:
        answers = [""] * len(prompts)
        for i, prompt in enumerate(prompts):

            def collect(event: Event | CamaError, i: int = i) -> None:
                if isinstance(event, CamaError):
                    raise event
                if isinstance(event, Chunk):
                    answers[i] += event.text

            wanted = Generation(prompt="", sampling=Sampling(temperature=0), num_predict=MAX_TOKENS)
            self._loop.submit(str(i), self._encode(prompt), wanted, collect)
        while self._loop.step():
            pass
        return answers

    def _encode(self, text: str) -> Sequence[int]:
        return self._engine.tokenizer.encode(text, add_special=False, parse_special=True)


def perplexity(engine: Engine, template: ChatTemplate, answered: Sequence[Answered]) -> float:
    """Of the right answers, per token, each after its question."""
    encode = partial(engine.tokenizer.encode, add_special=False, parse_special=True)
    total, n = 0.0, 0
    for one in answered:
        prompt = encode(template.render([{"role": "user", "content": one.question}]))
        answer = encode(one.fact.answer)
        span = Span(SeqId(0), 0, [*prompt, *answer], len(answer) + 1)
        rows = engine.forward(Plan((span,)))[:-1]
        total += sum(
            entry.logprob for entry in logprobs_of(rows, answer, 0, engine.tokenizer.piece)
        )
        engine.truncate(SeqId(0), 0)
        n += len(answer)
    return math.exp(-total / n)


@contextmanager
def opened(
    path: Path = SHIPPED, engine: Literal["native", "llama"] = "native"
) -> Iterator[tuple[Engine, ChatTemplate]]:
    """A model to examine: its engine, which ends with the context, and its chat template."""
    with GGUFFile.open(path) as file:
        template = ChatTemplate(file.get("tokenizer.chat_template"), bos="", eos="")
    load = LoadOptions(engine=engine, n_ctx=1024, n_parallel=8, n_threads=2)
    model = open_engine(path, load, lambda done: None)
    try:
        yield model, template
    finally:
        model.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("--examination", type=Path, nargs="*", help="other files of questions")
    arguments = parser.parse_args()
    facts = load_facts()
    for path in arguments.examination or (HELD_OUT, HELD_OUT_OFF_TOPIC):
        with opened(arguments.model) as (engine, template):
            answered = Examinee(engine, template).examine(load_examination(path), facts)
        for wrong in (one for one in answered if not one.is_right):
            print(f"  {wrong.question}\n    for {wrong.fact.id}: {wrong.answer}")
        n_right = sum(one.is_right for one in answered)
        with opened(arguments.model) as (engine, template):
            surprise = perplexity(engine, template, answered)
        print(f"{path.name}: {n_right} of {len(answered)} right ({n_right / len(answered):.1%})")
        print(f"{path.name}: perplexity of the right answers {surprise:.3f}")


if __name__ == "__main__":
    main()
