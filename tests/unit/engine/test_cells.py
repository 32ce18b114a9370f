"""The accounting of KV cells: placement, sharing, cutting, shifting."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cama.core.errors import CacheFull, EngineError
from cama.engine.cells import EMPTY, Cells


def test_allocate_appends_consecutive_cells() -> None:
    cells = Cells(8)
    assert cells.allocate(0, 3).tolist() == [0, 1, 2]
    assert cells.allocate(0, 2).tolist() == [3, 4]
    assert (cells.length(0), cells.used, cells.free, cells.high_water) == (5, 5, 3, 5)


def test_allocate_goes_on_from_the_head_and_wraps() -> None:
    cells = Cells(6)
    cells.allocate(0, 3)
    cells.allocate(1, 2)
    cells.truncate(0, 0)
    cells.allocate(2, 1)
    assert cells.allocate(1, 2).tolist() == [1, 2]
    assert cells.allocate(2, 1).tolist() == [5]


def test_allocate_skips_used_cells() -> None:
    cells = Cells(8)
    cells.allocate(0, 2)
    cells.allocate(1, 2)
    cells.truncate(0, 0)
    assert cells.allocate(2, 4).tolist() == [0, 1, 4, 5]


def test_allocate_starts_over_when_there_is_much_room_before_the_head() -> None:
    cells = Cells(32)
    cells.allocate(0, 1)
    cells.allocate(1, 20)
    cells.allocate(2, 1)
    cells.truncate(1, 0)  # the head moves to the first freed cell
    assert cells.allocate(3, 1).tolist() == [1]


def test_allocate_of_nothing_changes_nothing() -> None:
    cells = Cells(4)
    assert cells.allocate(0, 0).tolist() == []
    cells.check_integrity()
    assert cells.length(0) == 0


def test_allocate_refuses_more_than_is_free() -> None:
    cells = Cells(4)
    cells.allocate(0, 3)
    with pytest.raises(CacheFull) as caught:
        cells.allocate(1, 2)
    assert caught.value.fields == {"free": 1, "needed": 2}
    cells.check_integrity()
    assert (cells.length(1), cells.used) == (0, 3)


def test_allocate_refuses_a_negative_count() -> None:
    with pytest.raises(EngineError):
        Cells(4).allocate(0, -1)


def test_allocate_spans_places_a_whole_pass_in_order() -> None:
    cells = Cells(8)
    assert list(cells.allocate_spans(((0, 2), (1, 3)))) == [0, 1, 2, 3, 4]
    assert cells.cells(1).tolist() == [2, 3, 4]


def test_allocate_spans_is_all_or_nothing() -> None:
    cells = Cells(4)
    with pytest.raises(CacheFull):
        cells.allocate_spans(((0, 3), (1, 2)))
    assert cells.used == 0


def test_share_takes_no_cell() -> None:
    cells = Cells(8)
    cells.allocate(0, 5)
    cells.share(0, 1, 3)
    assert cells.cells(1).tolist() == [0, 1, 2]
    assert cells.used == 5


def test_shared_cells_live_until_their_last_sequence_leaves() -> None:
    cells = Cells(8)
    cells.allocate(0, 5)
    cells.share(0, 1, 3)
    cells.truncate(0, 0)
    assert (cells.used, cells.high_water) == (3, 3)
    cells.truncate(1, 0)
    assert (cells.used, cells.high_water) == (0, 0)


def test_share_refuses_a_target_that_has_cells() -> None:
    cells = Cells(8)
    cells.allocate(0, 2)
    cells.allocate(1, 1)
    with pytest.raises(EngineError):
        cells.share(0, 1, 1)


def test_share_refuses_more_than_the_source_has() -> None:
    cells = Cells(8)
    cells.allocate(0, 2)
    with pytest.raises(EngineError):
        cells.share(0, 1, 3)


def test_sequences_diverge_after_a_shared_prefix() -> None:
    cells = Cells(8)
    cells.allocate(0, 2)
    cells.share(0, 1, 2)
    cells.allocate(0, 1)
    cells.allocate(1, 1)
    assert cells.cells(0).tolist() == [0, 1, 2]
    assert cells.cells(1).tolist() == [0, 1, 3]
    assert cells.positions.tolist()[:5] == [0, 1, 2, 2, EMPTY]


def test_truncate_to_a_greater_length_keeps_all() -> None:
    cells = Cells(8)
    cells.allocate(0, 2)
    cells.truncate(0, 5)
    assert cells.length(0) == 2


def test_shift_moves_later_positions_down() -> None:
    cells = Cells(8)
    cells.allocate(0, 6)
    cells.shift(0, 1, 3)
    assert cells.cells(0).tolist() == [0, 3, 4, 5]
    assert cells.positions.tolist() == [0, EMPTY, EMPTY, 1, 2, 3, EMPTY, EMPTY]


def test_shift_of_the_tail_is_a_cut() -> None:
    cells = Cells(8)
    cells.allocate(0, 6)
    cells.shift(0, 4, 6)
    assert cells.length(0) == 4


def test_shift_may_drop_shared_cells() -> None:
    cells = Cells(8)
    cells.allocate(0, 3)
    cells.share(0, 1, 3)
    cells.allocate(0, 2)
    cells.shift(0, 1, 3)
    assert cells.cells(0).tolist() == [0, 3, 4]
    assert cells.cells(1).tolist() == [0, 1, 2]


def test_shift_refuses_to_move_shared_cells() -> None:
    cells = Cells(8)
    cells.allocate(0, 4)
    cells.share(0, 1, 4)
    with pytest.raises(EngineError):
        cells.shift(0, 0, 2)
    cells.check_integrity()
    assert cells.length(0) == 4


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 1), (0, 5)])
def test_shift_refuses_positions_outside(start: int, end: int) -> None:
    cells = Cells(8)
    cells.allocate(0, 4)
    with pytest.raises(EngineError):
        cells.shift(0, start, end)


def test_check_integrity_notices_a_wrong_count() -> None:
    cells = Cells(8)
    cells.allocate(0, 4)
    cells._users[2] += 1
    with pytest.raises(AssertionError):
        cells.check_integrity()


SEQS = st.integers(0, 4)


class CellsMachine(RuleBasedStateMachine):
    """Cells against a model in which every cell is a set of (sequence, position)."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = Cells(24)
        self.texts: dict[int, list[int]] = {seq: [] for seq in range(5)}

    def users(self, cell: int) -> int:
        return sum(cell in text for text in self.texts.values())

    @rule(seq=SEQS, n=st.integers(0, 10))
    def allocate(self, seq: int, n: int) -> None:
        used = {cell for text in self.texts.values() for cell in text}
        try:
            ids = self.cells.allocate(seq, n).tolist()
        except CacheFull:
            assert n > 24 - len(used)
            return
        assert len(set(ids)) == n
        assert not used & set(ids)
        self.texts[seq] += ids

    @rule(source=SEQS, to=SEQS, part=st.floats(0, 1))
    def share(self, source: int, to: int, part: float) -> None:
        if self.texts[to]:
            return
        length = int(len(self.texts[source]) * part)
        self.cells.share(source, to, length)
        self.texts[to] = self.texts[source][:length]

    @rule(seq=SEQS, length=st.integers(0, 24))
    def truncate(self, seq: int, length: int) -> None:
        self.cells.truncate(seq, length)
        self.texts[seq] = self.texts[seq][:length]

    @precondition(lambda self: any(self.texts.values()))
    @rule(data=st.data())
    def shift(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from([s for s, text in self.texts.items() if text]))
        text = self.texts[seq]
        end = data.draw(st.integers(0, len(text)))
        start = data.draw(st.integers(0, end))
        try:
            self.cells.shift(seq, start, end)
        except EngineError:
            assert any(self.users(cell) > 1 for cell in text[end:])
            return
        self.texts[seq] = text[:start] + text[end:]

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.cells.check_integrity()
        for seq, text in self.texts.items():
            assert self.cells.cells(seq).tolist() == text
            assert np.array_equal(self.cells.positions[text], np.arange(len(text)))


CellsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_cells_agree_with_a_model_under_any_history = CellsMachine.TestCase
