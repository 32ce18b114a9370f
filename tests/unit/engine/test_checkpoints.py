"""Checkpoints of running states: which slot holds what is behind which token, whatever happens."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cama.engine.cells import Cells
from cama.engine.checkpoints import Checkpoints

N_CELLS = 64


def test_checkpoint_is_found_by_all_that_share_its_cell() -> None:
    cells = Cells(N_CELLS)
    checkpoints = Checkpoints(cells, 4)
    cells.allocate(0, 10)
    slot = checkpoints.add(0, 10)
    cells.allocate(0, 5)
    cells.share(0, 1, 12)
    cells.allocate(2, 12)
    assert [checkpoints.last(0, n) for n in (9, 10, 15)] == [0, 10, 10]
    assert [checkpoints.last(seq, 12) for seq in (1, 2)] == [10, 0]
    assert checkpoints.slot(1, 10) == slot


def test_checkpoint_ends_with_its_cell() -> None:
    cells = Cells(N_CELLS)
    checkpoints = Checkpoints(cells, 4)
    cells.allocate(0, 10)
    slot = checkpoints.add(0, 10)
    cells.share(0, 1, 10)
    cells.truncate(0, 0)
    assert checkpoints.prune() == []
    assert checkpoints.last(1, 10) == 10
    cells.truncate(1, 9)
    assert checkpoints.prune() == [slot]
    assert checkpoints.last(1, 9) == 0
    checkpoints.check_integrity()


def test_checkpoint_behind_a_shift_is_no_place_to_resume() -> None:
    cells = Cells(N_CELLS)
    checkpoints = Checkpoints(cells, 4)
    for _ in range(2):
        cells.allocate(0, 10)
        checkpoints.add(0, cells.length(0))
    cells.shift(0, 12, 15)
    checkpoints.prune()
    assert checkpoints.last(0, 17) == 10


def test_least_recently_used_checkpoint_gives_way() -> None:
    cells = Cells(N_CELLS)
    checkpoints = Checkpoints(cells, 3)
    for _ in range(3):
        cells.allocate(0, 5)
        assert checkpoints.add(0, cells.length(0)) is not None
    checkpoints.slot(0, 5)
    cells.allocate(0, 5)
    checkpoints.add(0, 20)
    assert [checkpoints.last(0, n) for n in (5, 10, 15, 20)] == [5, 5, 15, 20]
    assert checkpoints.add(0, 20) is None
    assert len(checkpoints) == 3


def test_engine_without_room_keeps_none() -> None:
    cells = Cells(N_CELLS)
    cells.allocate(0, 5)
    assert Checkpoints(cells, 0).add(0, 5) is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_slots_hold_the_state_of_the_text_before_them(data: st.DataObject) -> None:
    """Texts are tuples; what is written into a slot is the text whose state it stands for."""
    cells = Cells(N_CELLS)
    checkpoints = Checkpoints(cells, data.draw(st.integers(0, 4)))
    texts: dict[int, tuple[int, ...]] = dict.fromkeys(range(4), ())
    states: dict[int, tuple[int, ...]] = {}
    for _ in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["grow", "grow", "add", "add", "share", "cut", "shift"]))
        seq = data.draw(st.integers(0, 3))
        text = texts[seq]
        if action == "grow":
            new = data.draw(st.lists(st.integers(0, 1), max_size=min(6, cells.free)))
            cells.allocate(seq, len(new))
            texts[seq] = (*text, *new)
        elif action == "add":
            n = data.draw(st.integers(0, len(text)))
            slot = checkpoints.add(seq, n)
            if slot is not None:
                states[slot] = text[:n]
        elif action == "share":
            target = data.draw(st.integers(0, 3))
            n = checkpoints.last(seq, data.draw(st.integers(0, len(text))))
            if not texts[target] and target != seq:
                cells.share(seq, target, n)
                texts[target] = text[:n]
        elif action == "cut":
            n = data.draw(st.integers(0, len(text)))
            cells.truncate(seq, n)
            texts[seq] = text[:n]
        elif len(text) > 4 and not any(seq != s and texts[s] for s in texts):
            cells.shift(seq, 2, 4)
            # what follows was read with all that went before, and stands for no shorter text
            texts[seq] = (*text[:2], *(token + 2 for token in text[4:]))
        checkpoints.prune()
        checkpoints.check_integrity()
        for s, whole in texts.items():
            n = checkpoints.last(s, len(whole))
            assert not n or states[checkpoints.slot(s, n)] == whole[:n]
    assert np.all(cells.positions < N_CELLS)
