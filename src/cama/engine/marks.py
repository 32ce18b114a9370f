"""Where in a prompt the state is worth remembering, for later prompts to go on from there."""

from collections.abc import Collection, Iterator

import numpy as np

from cama.engine.base import EngineInfo
from cama.engine.radix import Tokens

APART = 32
"""Tokens between two marks, at least: a mark ends a pass, and one more costs as much as some
tokens of another."""

_MOST_REGULAR = 8
_SHARE_OF_REGULAR = 4
"""Marks of a long prompt that nothing but its length asks for: a part of all checkpoints."""


def marks(
    tokens: Tokens,
    n_cached: int,
    common: int,
    info: EngineInfo,
    end_of_generation: Collection[int],
) -> list[int]:
    """Behind which tokens of a prompt to remember the state, in order.

    ``n_cached`` tokens are in the cache already; another text has the first ``common`` as well.
    """
    found: list[int] = []
    for place in _wanted(tokens, common, info, end_of_generation):
        is_new = n_cached < place < len(tokens)
        if is_new and all(abs(place - other) >= APART for other in (0, n_cached, *found)):
            found.append(place)
    return sorted(found)


def _wanted(
    tokens: Tokens, common: int, info: EngineInfo, end_of_generation: Collection[int]
) -> Iterator[int]:
    """Places by how likely another prompt leaves this one there."""
    yield common
    turns = np.flatnonzero(np.isin(tokens, list(end_of_generation))) + 1
    if len(turns):
        yield int(turns[0])  # behind what a system prompt says
        yield int(turns[-1])  # the answer may be told in another way next time
    yield len(tokens) - 1  # the same prompt again
    n_regular = min(info.n_checkpoints // _SHARE_OF_REGULAR, _MOST_REGULAR)
    if n_regular:
        step = info.n_batch * -(-len(tokens) // (info.n_batch * n_regular))
        yield from range(step, len(tokens), step)
