"""Text of tokens: whole characters, and nothing of a stop string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.engine.output import Assembler

CAMEL = "🐪"


def _pushes(pieces: list[bytes], stops: tuple[str, ...] = ()) -> list[str]:
    assembler = Assembler(stops)
    out = []
    for piece in pieces:
        out.append(assembler.push(piece))
        if assembler.stopped:
            return out
    return [*out, assembler.flush()]


def test_text_goes_out_piece_by_piece() -> None:
    assert _pushes([b"Hel", b"lo", b"!"]) == ["Hel", "lo", "!", ""]


def test_character_split_over_tokens_waits_until_it_is_whole() -> None:
    pieces = [bytes([byte]) for byte in CAMEL.encode()]
    assert _pushes(pieces) == ["", "", "", CAMEL, ""]


def test_incomplete_character_at_the_end_is_dropped() -> None:
    assert _pushes([b"a", CAMEL.encode()[:3]]) == ["a", "", ""]


def test_invalid_byte_is_replaced_at_once() -> None:
    assert _pushes([b"a\xff", b"b"]) == ["a\ufffd", "b", ""]


def test_character_that_breaks_off_is_replaced_when_that_is_certain() -> None:
    assert _pushes([CAMEL.encode()[:2], b"x"]) == ["", "\ufffdx", ""]


def test_stop_string_ends_the_text_before_it() -> None:
    assert _pushes([b"one STOP two"], ("STOP",)) == ["one "]


def test_stop_string_split_over_tokens_is_never_emitted() -> None:
    assert _pushes([b"a S", b"T", b"OP b"], ("STOP",)) == ["a ", "", ""]


def test_beginning_of_a_stop_string_that_comes_to_nothing_goes_out() -> None:
    assert _pushes([b"a ST", b"AND"], ("STOP",)) == ["a ", "STAND", ""]


def test_beginning_of_a_stop_string_at_the_end_goes_out() -> None:
    assert _pushes([b"a ST"], ("STOP",)) == ["a ", "ST"]


def test_only_what_may_become_a_stop_string_is_held() -> None:
    assert _pushes([b"aaaaab"], ("aab", "bb")) == ["aaa"]
    assert _pushes([b"xaab"], ("aabaac",)) == ["x", "aab"]


def test_first_stop_string_of_the_list_decides() -> None:
    assert _pushes([b"one two three"], ("three", "two")) == ["one two "]


def test_stop_string_inside_another_decides_when_it_comes_first() -> None:
    assert _pushes([b"x", b"abc"], ("b", "abc")) == ["x", "a"]


def test_empty_stop_string_is_ignored() -> None:
    assert _pushes([b"text"], ("",)) == ["text", ""]


def test_stop_string_of_several_bytes_a_character_is_found() -> None:
    pieces = [bytes([byte]) for byte in f"go {CAMEL}!".encode()]
    assert "".join(_pushes(pieces, (CAMEL,))) == "go "


def test_stop_string_overlapping_itself_is_found() -> None:
    assert "".join(_pushes([b"x a", b"baba", b"c"], ("ababac",))) == "x "


@pytest.mark.parametrize("n", [1, 2, 5])
def test_long_stop_strings_cost_no_more_than_the_text(n: int) -> None:
    assembler = Assembler(["a" * 100_000 + "b"] * n)
    assert "".join(assembler.push(b"a" * 1000) for _ in range(50)) == ""
    assert assembler.flush() == "a" * 50_000


@given(
    st.text("ab c🐪é", max_size=40),
    st.text("ab c🐪", min_size=1, max_size=4),
    st.lists(st.integers(1, 3), min_size=1),
)
def test_text_is_the_same_however_it_is_cut(text: str, stop: str, sizes: list[int]) -> None:
    data = text.encode()
    pieces: list[bytes] = []
    while data:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[:size])
        data = data[size:]
    assert "".join(_pushes(pieces, (stop,))) == text.split(stop)[0]


@given(st.lists(st.binary(max_size=5), max_size=20))
def test_any_bytes_give_text_as_python_reads_it(pieces: list[bytes]) -> None:
    out = "".join(_pushes(pieces))
    whole = b"".join(pieces).decode(errors="replace")
    assert whole.startswith(out)
    assert set(whole[len(out) :]) <= {"\ufffd"}
