"""The line editor, typed into through a pipe."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from cama.cli.editor import LineEditor
from cama.cli.history import LineHistory


@contextmanager
def typing(path: Path, text: str) -> Iterator[tuple[LineEditor, PipeInput]]:
    with create_pipe_input() as pipe:
        editor = LineEditor(path, pipe, DummyOutput())
        pipe.send_text(text)
        yield editor, pipe


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("hello\r", "hello"),
        ("one\ntwo\r", "one\ntwo"),
        ("\x1b[200~one\ntwo\x1b[201~\r", "one\ntwo"),
        ("a\tb\r", "a        b"),
        ("world\x01hello \r", "hello world"),
        ("one two\x17\r", "one "),
        ("one\n\x7ftwo\r", "onetwo"),
    ],
)
def test_editor_reads_an_entry(tmp_path: Path, typed: str, text: str) -> None:
    with typing(tmp_path / "history", typed) as (editor, _):
        assert editor.read(is_continued=False) == text


def test_editor_ends_at_control_d(tmp_path: Path) -> None:
    with typing(tmp_path / "history", "\x04") as (editor, _), pytest.raises(EOFError):
        editor.read(is_continued=True)


def test_editor_is_interrupted_by_control_c(tmp_path: Path) -> None:
    with typing(tmp_path / "history", "half\x03") as (editor, _), pytest.raises(KeyboardInterrupt):
        editor.read(is_continued=False)


def test_editor_recalls_the_line_before(tmp_path: Path) -> None:
    with typing(tmp_path / "history", "first\r") as (editor, pipe):
        editor.read(is_continued=False)
        pipe.send_text("\x10\r")
        assert editor.read(is_continued=False) == "first"


def test_history_comes_back_newest_first(tmp_path: Path) -> None:
    history = LineHistory(tmp_path / "home" / "history")
    history.store_string("one")
    history.store_string("two\nlines")
    again = LineHistory(tmp_path / "home" / "history")
    assert list(again.load_history_strings()) == ["two\nlines", "one"]


def test_history_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "history"
    LineHistory(path).store_string("secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_history_keeps_a_hundred_entries(tmp_path: Path) -> None:
    history = LineHistory(tmp_path / "history")
    for number in range(103):
        history.store_string(str(number))
    entries = list(history.load_history_strings())
    assert (len(entries), entries[0], entries[-1]) == (100, "102", "3")


def test_history_that_is_off_stores_nothing(tmp_path: Path) -> None:
    history = LineHistory(tmp_path / "history")
    history.is_on = False
    history.store_string("one")
    assert not (tmp_path / "history").exists()


def test_history_passes_over_foreign_lines(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(b'"one"\nnot json\n{"a": 1}\n\xff\n' + b"[" * 10_000 + b'\n"two"\n')
    assert list(LineHistory(path).load_history_strings()) == ["two", "one"]


def test_history_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = LineHistory(tmp_path / "file" / "history")
    history.store_string("one")
    assert list(history.load_history_strings()) == []
