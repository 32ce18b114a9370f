"""Train the model that ships with Cama, on the CPU.

    python -m guide.train                       from nothing, about an hour on two cores
    python -m guide.train --warm --steps 800    from the shipped file, after a change of the corpus

An interrupted run goes on where its last checkpoint was.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from cama.store.bundled import FOLDER
from guide import export
from guide.batches import ALL, CHOICES, Batch, Mix, batches
from guide.conversation import SYSTEM_TEXTS
from guide.corpus import Examination, Fact, load_examination, load_facts
from guide.model import Llama, Shape
from guide.samples import Answer, Encoder
from guide.vocabulary import Vocabulary

SHIPPED = FOLDER / "guide.gguf"
HAS_BF16 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
"""Elsewhere products in bfloat16 are emulated, a hundred times slower than those in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train. A step sees about ``n_tokens`` tokens; the first ``choices_share`` of the steps
    learn choices alone."""

    n_steps: int
    n_tokens: int = 2048
    seed: int = 1
    warmup: int = 30
    has_muon: bool = True
    matrix_rate: float = 0.006
    other_rate: float = 2e-3
    weight_decay: float = 0.05
    choices_share: float = 0.7
    often: tuple[str, ...] = ()

    def factor(self, step: int) -> float:
        """Of the learning rate: a straight line up, and a straight line down to 0."""
        return min((step + 1) / self.warmup, (self.n_steps - step) / self.n_steps)

    def mix(self, step: int) -> Mix:
        """First which answer a question gets, then whole answers and conversations too."""
        mix = CHOICES if step < self.n_steps * self.choices_share else ALL
        return replace(mix, often=self.often)


class Optimizers:
    """Muon for the matrices inside the blocks, AdamW for the rest, or AdamW alone.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, model: Llama, plan: Plan) -> None:
        matrices = [p for p in model.blocks.parameters() if p.ndim == 2 and plan.has_muon]
        inside = set(map(id, matrices))
        others = [p for p in model.parameters() if id(p) not in inside]
        adamw = torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0)
        self._all: list[tuple[torch.optim.Optimizer, float]] = [(adamw, plan.other_rate)]
        if matrices:
            muon = torch.optim.Muon(matrices, lr=plan.matrix_rate, weight_decay=plan.weight_decay)
            self._all.append((muon, plan.matrix_rate))

    def step(self, factor: float) -> None:
        for optimizer, rate in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[object]:
        return [optimizer.state_dict() for optimizer, _ in self._all]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        for (optimizer, _), state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy per weighted token."""
    ids, following, weights = batch
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=HAS_BF16):
        logits = model(ids)
    each = functional.cross_entropy(
        logits.float().flatten(0, 1), following.flatten(), reduction="none"
    )
    return (each * weights.flatten()).sum() / weights.sum()


def texts(facts: dict[str, Fact]) -> Iterator[str]:
    """What the vocabulary is learnt from; answers count as much as their questions together."""
    yield from SYSTEM_TEXTS
    for fact in facts.values():
        yield from [fact.answer] * 20
        yield from fact.questions
        yield from (question.lower() for question in fact.questions)
        for ways in fact.follow.values():
            yield from ways


def share_right(model: Llama, encode: Encoder, asked: list[tuple[str, str]]) -> float:
    """How many of these questions the model answers, greedily, with the answer beside them."""
    model.eval()
    with torch.no_grad():
        right = [_decides(model, encode.prompt(asks), encode.answers[text]) for asks, text in asked]
    model.train()
    return sum(right) / len(right)


def _decides(model: Llama, prompt: list[int], answer: Answer) -> bool:
    logits = model(torch.tensor([[*prompt, *answer.ids[: answer.n_decided]]]))[0]
    best = logits.argmax(1)[len(prompt) - 1 :]
    return all(int(best[i]) == answer.ids[i] for i in answer.choices)


def train(
    model: Llama, vocabulary: Vocabulary, plan: Plan, checkpoint: Path, watched: list[Examination]
) -> None:
    """Train ``model``, from ``checkpoint`` on if there is one.

    How many of the ``watched`` questions the model answers is printed now and then.
    """
    torch.manual_seed(plan.seed)
    facts = load_facts()
    encode = Encoder(vocabulary, (fact.answer for fact in facts.values()))
    asked = [(one.question, facts[one.fact].answer) for one in watched]
    optimizers, first = Optimizers(model, plan), 0
    if checkpoint.exists():
        first = _load(checkpoint, model, optimizers)
        print(f"going on after step {first}")
    began, mean = time.monotonic(), 0.0
    source = batches(facts, encode, plan.mix, n_tokens=plan.n_tokens, seed=plan.seed, first=first)
    model.train()
    for step, batch in zip(range(first, plan.n_steps), source, strict=False):
        loss = loss_of(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step(plan.factor(step))
        mean += (loss.item() - mean) / min(step - first + 1, 50)
        if (step + 1) % 25 == 0:
            left = (time.monotonic() - began) / (step + 1 - first) * (plan.n_steps - step - 1)
            print(f"step {step + 1:5}  loss {mean:.4f}  {left:6.0f} s left", flush=True)
        if asked and (step + 1) % 100 == 0:
            print(f"step {step + 1:5}  right {share_right(model, encode, asked):.1%}", flush=True)
        if (step + 1) % 50 == 0:
            _save(checkpoint, step + 1, model, vocabulary, optimizers)


def _save(
    path: Path, step: int, model: Llama, vocabulary: Vocabulary, optimizers: Optimizers
) -> None:
    state = {
        "step": step,
        "vocabulary": (vocabulary.tokens, vocabulary.merges),
        "model": model.state_dict(),
        "optimizers": optimizers.state_dict(),
        "random": torch.get_rng_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _load(path: Path, model: Llama, optimizers: Optimizers) -> int:
    saved = torch.load(path)
    model.load_state_dict(saved["model"])
    optimizers.load_state_dict(saved["optimizers"])
    torch.set_rng_state(saved["random"])
    return int(saved["step"])


def _vocabulary(checkpoint: Path, *, size: int) -> Vocabulary:
    """That of the run that is going on, since the corpus may have changed; or a new one."""
    if checkpoint.exists():
        return Vocabulary(*torch.load(checkpoint)["vocabulary"])
    return Vocabulary.train(texts(load_facts()), size)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--warm", action="store_true", help="begin with the shipped file")
    parser.add_argument(
        "--often", nargs="*", default=[], help="facts that are new, to learn six times as often"
    )
    parser.add_argument("--folder", type=Path, default=Path("build/guide"), help="for checkpoints")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--type", default="Q8_0", help="quantization of what is written")
    parser.add_argument("--watch", type=Path, nargs="*", default=[], help="questions to try")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    # Each kind of run has its own, for their vocabularies differ
    checkpoint = arguments.folder / ("warm.pt" if arguments.warm else "checkpoint.pt")
    often = tuple(arguments.often)
    if arguments.warm:
        vocabulary, model = Vocabulary.of_gguf(SHIPPED), export.read(SHIPPED)
        plan = Plan(
            n_steps=arguments.steps, has_muon=False, other_rate=8e-4, choices_share=0.0, often=often
        )
    else:
        shape = Shape()
        vocabulary = _vocabulary(checkpoint, size=shape.n_vocab)
        torch.manual_seed(0)
        model = Llama(shape)
        plan = Plan(n_steps=arguments.steps, often=often)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} million parameters")
    watched = [one for path in arguments.watch for one in load_examination(path)]
    train(model, vocabulary, plan, checkpoint, watched)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    export.write(arguments.out, model, vocabulary, arguments.type)
    checkpoint.unlink(missing_ok=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
