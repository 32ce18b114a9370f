"""Train the model that ships with Cama, on the CPU.

    python -m guide.train                       from nothing, about an hour and a half on two cores
    python -m guide.train --warm --steps 800    from the shipped file, after a change of the corpus

An interrupted run goes on where its last checkpoint was.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from guide import export
from guide.batches import Batch, batches
from guide.conversation import SYSTEM_TEXTS
from guide.corpus import Fact, load_facts
from guide.model import Llama, Shape
from guide.vocabulary import Encoder, Vocabulary

SHIPPED = Path(__file__).parent.parent / "src/cama/bundled/guide.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train. A step sees about ``n_tokens`` tokens."""

    n_steps: int
    n_tokens: int = 4096
    seed: int = 1
    warmup: int = 100
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    weight_decay: float = 0.05

    def factor(self, step: int) -> float:
        """Of the learning rate: a straight line up, a plateau, and a straight line down to 0."""
        down = (self.n_steps - step) / (0.6 * self.n_steps)
        return min(1.0, (step + 1) / self.warmup, down)


class Optimizers:
    """Muon for the matrices inside the blocks, AdamW for the embedding and the norms.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, model: Llama, plan: Plan) -> None:
        matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
        inside = set(map(id, matrices))
        others = [p for p in model.parameters() if id(p) not in inside]
        self._all = (
            torch.optim.Muon(matrices, lr=plan.matrix_rate, weight_decay=plan.weight_decay),
            torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0),
        )
        self._rates = (plan.matrix_rate, plan.other_rate)

    def step(self, factor: float) -> None:
        for optimizer, rate in zip(self._all, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[object]:
        return [optimizer.state_dict() for optimizer in self._all]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        for optimizer, state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy per weighted token."""
    ids, following, weights = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
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


def train(model: Llama, vocabulary: Vocabulary, plan: Plan, folder: Path) -> None:
    """Train ``model``; checkpoints lie in ``folder`` and go when the training is done."""
    torch.manual_seed(plan.seed)
    facts, checkpoint = load_facts(), folder / "checkpoint.pt"
    optimizers, first = Optimizers(model, plan), 0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        optimizers.load_state_dict(saved["optimizers"])
        torch.set_rng_state(saved["random"])
        first = saved["step"]
        print(f"going on after step {first}")
    began, mean = time.monotonic(), 0.0
    source = batches(facts, Encoder(vocabulary), plan.n_tokens, plan.seed, first)
    model.train()
    for step, batch in zip(range(first, plan.n_steps), source, strict=False):
        loss = loss_of(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step(plan.factor(step))
        mean += (loss.item() - mean) / min(step - first + 1, 50)
        if (step + 1) % 25 == 0:
            took = time.monotonic() - began
            left = took / (step + 1 - first) * (plan.n_steps - step - 1)
            print(
                f"step {step + 1:5}  loss {mean:.4f}  {took:6.0f} s  {left:6.0f} s left", flush=True
            )
        if (step + 1) % 200 == 0:
            _save(checkpoint, step + 1, model, optimizers)
    checkpoint.unlink(missing_ok=True)


def _save(path: Path, step: int, model: Llama, optimizers: Optimizers) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizers": optimizers.state_dict(),
        "random": torch.get_rng_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--warm", action="store_true", help="begin with the shipped file")
    parser.add_argument("--folder", type=Path, default=Path("build/guide"), help="for checkpoints")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--type", default="Q8_0", help="quantization of what is written")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.warm:
        vocabulary, model = Vocabulary.of_gguf(SHIPPED), export.read(SHIPPED)
        plan = Plan(n_steps=arguments.steps, matrix_rate=0.01, other_rate=1e-3)
    else:
        shape = Shape()
        vocabulary = Vocabulary.train(texts(load_facts()), shape.n_vocab)
        torch.manual_seed(0)
        model = Llama(shape)
        plan = Plan(n_steps=arguments.steps)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} million parameters")
    train(model, vocabulary, plan, arguments.folder)
    export.write(arguments.folder / "guide-F32.gguf", model, vocabulary, "F32")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    export.write(arguments.out, model, vocabulary, arguments.type)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
