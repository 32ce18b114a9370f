"""Radix trees against the plainest model of them: a table of texts."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cama.engine.radix import MIN_RUN, RadixTree, Tokens, common_length

ONE, TWO = ("", "one"), ("", "two")


def _tokens(text: str) -> Tokens:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [("", "", 0), ("", "x", 0), ("abc", "abd", 2), ("abc", "abc", 3), ("ab", "abc", 2)],
)
def test_common_length_counts_equal_tokens_at_the_front(a: str, b: str, length: int) -> None:
    assert common_length(_tokens(a), _tokens(b)) == length


def _text(node_tokens: Tokens) -> str:
    return bytes(node_tokens.tolist()).decode()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_tree_agrees_with_a_table_of_texts(data: st.DataObject) -> None:
    tree: RadixTree[int] = RadixTree()
    table: dict[int, tuple[tuple[str, str], str]] = {}
    texts = st.text("ab", max_size=2).flatmap(lambda t: st.just(t * 20) | st.text("abc"))
    for end in range(data.draw(st.integers(1, 25))):
        key = data.draw(st.sampled_from([ONE, TWO]))
        text = data.draw(texts)
        tree.add(key, _tokens(text), end)
        table[end] = key, text
        victim = data.draw(st.sampled_from(sorted(table)))
        key, text = table[victim]
        match data.draw(st.sampled_from(["nothing", "grow", "cut", "remove", "touch"])):
            case "grow":
                more = data.draw(st.text("ab", min_size=1, max_size=50))
                tree.grow(victim, _tokens(more))
                table[victim] = key, text + more
            case "cut":
                n = data.draw(st.integers(0, len(text)))
                tree.cut(victim, n)
                table[victim] = key, text[:n]
            case "remove":
                tree.remove(victim)
                del table[victim]
            case "touch":
                tree.touch(victim)
                assert all(tree.node(victim).used >= tree.node(other).used for other in table)
        tree.check_integrity()
    assert set(tree) == set(table)
    for end, (key, text) in table.items():
        assert tree.key(end) == key
        assert _text(tree.node(end).tokens()) == text
    _check_match(tree, table, data.draw(st.sampled_from([ONE, TWO])), data.draw(texts))


def _check_match(
    tree: RadixTree[int],
    table: dict[int, tuple[tuple[str, str], str]],
    key: tuple[str, str],
    wanted: str,
) -> None:
    point = tree.match(key, _tokens(wanted))
    lengths = {
        end: common_length(_tokens(text), _tokens(wanted))
        for end, (other, text) in table.items()
        if other == key
    }
    assert point.length == max(lengths.values(), default=0)
    if point.length:
        assert set(point.node.below()) == {e for e, n in lengths.items() if n == point.length}


def test_tree_keeps_a_branching_point_that_has_one_branch_left() -> None:
    tree: RadixTree[int] = RadixTree()
    trunk = "t" * MIN_RUN
    tree.add(ONE, _tokens(trunk + "one"), 1)
    tree.add(ONE, _tokens(trunk + "two"), 2)
    tree.remove(1)
    assert tree.node(2).start == MIN_RUN


def test_tree_forgets_a_branching_point_behind_a_few_tokens() -> None:
    tree: RadixTree[int] = RadixTree()
    tree.add(ONE, _tokens("few one"), 1)
    tree.add(ONE, _tokens("few two"), 2)
    tree.remove(1)
    assert tree.node(2).start == 0
    assert _text(tree.node(2).tokens()) == "few two"


def test_tree_counts_a_common_beginning_once() -> None:
    tree: RadixTree[int] = RadixTree()
    for end, text in enumerate(["beginning", "begin", "beginner"]):
        tree.add(ONE, _tokens(text), end)
    assert tree.n_tokens == len("beginninger")


def test_empty_tree_knows_no_keys() -> None:
    tree: RadixTree[int] = RadixTree()
    tree.add(TWO, _tokens("text"), 1)
    tree.remove(1)
    assert tree.keys == []


def test_match_among_a_thousand_prefixes_takes_well_under_a_millisecond() -> None:
    tree: RadixTree[int] = RadixTree()
    random = np.random.default_rng(1)
    trunk = random.integers(0, 50_000, 1500).astype(np.int32)
    for end in range(1000):
        own = random.integers(0, 50_000, 500).astype(np.int32)
        where = int(random.integers(0, 1500))
        tree.add(ONE, np.concatenate((trunk[:where], own)), end)
    prompt = np.concatenate((trunk, random.integers(0, 50_000, 500).astype(np.int32)))
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        point = tree.match(ONE, prompt)
        seconds.append(time.perf_counter() - started)
    assert point.length >= 1490
    # A path of 600 branching points takes 0.2 ms, and usual are three.
    assert min(seconds) < 0.001
