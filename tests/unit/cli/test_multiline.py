"""Lines that become entries."""

import pytest

from cama.cli.multiline import Entry, Lines


def feed(*lines: str) -> list[Entry | None]:
    collector = Lines()
    return [collector.feed(line) for line in lines]


def test_plain_line_is_an_entry() -> None:
    assert feed("  hello ") == [Entry("  hello ")]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (('"""one"""',), "one"),
        (('"""one', 'two"""'), "one\ntwo"),
        (('"""', "one", '"""'), "\none\n"),
        (('"""pasted\ntext"""',), "pasted\ntext"),
    ],
)
def test_block_joins_its_lines(lines: tuple[str, ...], text: str) -> None:
    assert feed(*lines)[-1] == Entry(text, is_block=True)


def test_block_is_open_until_its_end() -> None:
    lines = Lines()
    assert lines.feed('"""one') is None
    assert lines.is_open
    assert lines.feed('two"""') is not None
    assert not lines.is_open


def test_block_of_a_system_message_stays_a_command() -> None:
    assert feed('/set system """be', 'brief"""') == [None, Entry("/set system be\nbrief")]


def test_quotes_inside_a_line_open_nothing() -> None:
    assert feed('say """hi"""') == [Entry('say """hi"""')]


def test_discarded_block_is_forgotten() -> None:
    lines = Lines()
    lines.feed('"""one')
    lines.discard()
    assert lines.feed("two") == Entry("two")
