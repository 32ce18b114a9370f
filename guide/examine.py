"""How well a model answers questions that it was never trained on.

python -m guide.examine [MODEL.gguf]
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cama.core.errors import CamaError
from cama.core.generation import Chunk, Event, Generation, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Plan, SeqId, Span
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

    def perplexity(self, examination: Sequence[Examination], facts: Mapping[str, Fact]) -> float:
        """Of the right answers, per token, each after its question."""
        total, n = 0.0, 0
        for asked in examination:
            prompt = self._encode(self._prompt([asked.question]))
            answer = self._encode(facts[asked.fact].answer)
            span = Span(SeqId(0), 0, [*prompt, *answer], len(answer) + 1)
            logits = self._engine.forward(Plan((span,)))[:-1].astype(np.float64)
            self._engine.truncate(SeqId(0), 0)
            chosen = logits[np.arange(len(answer)), list(answer)]
            total += float((np.logaddexp.reduce(logits, axis=1) - chosen).sum())
            n += len(answer)
        return math.exp(total / n)

    def _prompt(self, questions: Sequence[str]) -> str:
        messages: list[dict[str, str]] = []
        for question in questions:
            if messages:
                [answer] = self._generate([self._template.render(messages)])
                messages.append({"role": "assistant", "content": answer})
            messages.append({"role": "user", "content": question})
        return self._template.render(messages)

    def _generate(self, prompts: Sequence[str]) -> list[str]:
        loop = Loop(self._engine)
        answers = [""] * len(prompts)
        for i, prompt in enumerate(prompts):

            def collect(event: Event | CamaError, i: int = i) -> None:
                if isinstance(event, CamaError):
                    raise event
                if isinstance(event, Chunk):
                    answers[i] += event.text

            wanted = Generation(prompt="", sampling=Sampling(temperature=0), num_predict=MAX_TOKENS)
            loop.submit(str(i), self._encode(prompt), wanted, collect)
        while loop.step():
            pass
        return answers

    def _encode(self, text: str) -> Sequence[int]:
        return self._engine.tokenizer.encode(text, add_special=False, parse_special=True)


@contextmanager
def examinee(
    path: Path = SHIPPED, engine: Literal["native", "llama"] = "native"
) -> Iterator[Examinee]:
    with GGUFFile.open(path) as file:
        template = ChatTemplate(file.get("tokenizer.chat_template"), bos="", eos="")
    load = LoadOptions(engine=engine, n_ctx=1024, n_parallel=8, n_threads=2)
    opened = open_engine(path, load, lambda done: None)
    try:
        yield Examinee(opened, template)
    finally:
        opened.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("--examination", type=Path, nargs="*", help="other files of questions")
    arguments = parser.parse_args()
    facts = load_facts()
    with examinee(arguments.model) as model:
        for path in arguments.examination or (HELD_OUT, HELD_OUT_OFF_TOPIC):
            examination = load_examination(path)
            answered = model.examine(examination, facts)
            for wrong in (one for one in answered if not one.is_right):
                print(f"  {wrong.question}\n    for {wrong.fact.id}: {wrong.answer}")
            n_right = sum(one.is_right for one in answered)
            print(f"{path.name}: {n_right} of {len(answered)} right, {n_right / len(answered):.1%}")
            print(
                f"{path.name}: perplexity of the answers {model.perplexity(examination, facts):.3f}"
            )


if __name__ == "__main__":
    main()
