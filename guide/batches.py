"""Batches of conversations of like length, the same for a seed and a number."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from guide.conversation import conversations
from guide.corpus import Fact
from guide.samples import Encoder, Sample

BATCHES_IN_BLOCK = 32
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Mix:
    """What batches are made of. ``cut_share`` of the conversations end where the last answer is
    decided: the rest of it is learnt by heart from a few. Facts in ``often`` begin more of them."""

    max_turns: int
    cut_share: float
    often: tuple[str, ...] = ()


CHOICES = Mix(max_turns=1, cut_share=1.0)
"""Nothing but which answer a question gets, the hard part, in as few tokens as possible."""

ALL = Mix(max_turns=8, cut_share=0.7)


def batches(
    facts: Mapping[str, Fact],
    encode: Encoder,
    mix_of: Callable[[int], Mix],
    *,
    n_tokens: int,
    seed: int,
    first: int,
) -> Iterator[Batch]:
    """Without end from batch ``first`` on: ids, next ids and weights, each of shape (n, t).

    ``mix_of`` is asked with the number of a batch, for each block of them.
    """
    block, skip = divmod(first, BATCHES_IN_BLOCK)
    while True:
        mix = mix_of(block * BATCHES_IN_BLOCK)
        yield from islice(_block(facts, encode, mix, n_tokens, f"{seed}/{block}"), skip, None)
        block, skip = block + 1, 0


def _block(
    facts: Mapping[str, Fact], encode: Encoder, mix: Mix, n_tokens: int, seed: str
) -> Iterator[Batch]:
    rng = random.Random(seed)
    samples: list[Sample] = []
    total = 0
    for conversation in conversations(facts, rng, mix.max_turns, mix.often):
        samples.append(encode(conversation, is_cut=rng.random() < mix.cut_share))
        total += len(samples[-1].ids)
        if total >= n_tokens * BATCHES_IN_BLOCK:
            break
    samples.sort(key=lambda sample: len(sample.ids))
    groups = _by_tokens(samples, total / BATCHES_IN_BLOCK)
    rng.shuffle(groups)
    return map(_batch, groups)


def _by_tokens(samples: list[Sample], n_tokens: float) -> list[list[Sample]]:
    groups: list[list[Sample]] = [[] for _ in range(BATCHES_IN_BLOCK)]
    seen = 0
    for sample in samples:
        groups[min(int(seen / n_tokens), BATCHES_IN_BLOCK - 1)].append(sample)
        seen += len(sample.ids)
    return groups


def _batch(samples: list[Sample]) -> Batch:
    width = max(len(sample.ids) for sample in samples)
    ids = torch.zeros(len(samples), width, dtype=torch.long)
    weights = torch.zeros(len(samples), width)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        weights[row, : len(sample.ids)] = torch.tensor(sample.weights)
    return ids[:, :-1], ids[:, 1:], weights[:, 1:]
