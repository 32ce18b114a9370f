"""How an answer is written to a file and to a terminal."""

import io
from typing import Any

import pytest

from cama.cli.answer import AnswerWriter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_content_is_written_as_it_comes() -> None:
    out = io.StringIO()
    writer = AnswerWriter(out)
    writer.content("Hel")
    assert out.getvalue() == "Hel"
    writer.content("lo")
    assert out.getvalue() == "Hello"


def test_thinking_is_framed() -> None:
    out = io.StringIO()
    writer = AnswerWriter(out)
    writer.thinking("hm")
    writer.thinking("m")
    writer.content("42")
    writer.close()
    assert out.getvalue() == "Thinking...\nhmm\n...done thinking.\n\n42"


def test_frame_is_closed_when_the_answer_ends_in_thought() -> None:
    out = io.StringIO()
    writer = AnswerWriter(out)
    writer.thinking("hm\n")
    writer.close()
    assert out.getvalue() == "Thinking...\nhm\n...done thinking.\n\n"


def test_thinking_can_be_hidden() -> None:
    out = io.StringIO()
    writer = AnswerWriter(out, hide_thinking=True)
    writer.thinking("hm")
    writer.content("42")
    assert out.getvalue() == "42"


def test_thinking_is_grey_on_a_terminal() -> None:
    out = Terminal()
    writer = AnswerWriter(out)
    writer.thinking("hm")
    writer.content("42")
    assert out.getvalue() == (
        "\x1b[90m\x1b[1mThinking...\x1b[22m\x1b[90m\nhm\n"
        "\x1b[90m\x1b[1m...done thinking.\x1b[22m\x1b[0m\n\n42"
    )


def test_terminal_gets_no_control_characters_of_the_model() -> None:
    out = Terminal()
    AnswerWriter(out).content("a\x1b]0;title\x07b\x9b\tc\n")
    assert out.getvalue() == "a]0;titleb\tc\n"


def test_file_gets_the_text_unchanged() -> None:
    out = io.StringIO()
    AnswerWriter(out).content("a\x1b[1mb" + " word" * 40)
    assert out.getvalue() == "a\x1b[1mb" + " word" * 40


@pytest.mark.parametrize(("wordwrap", "n_lines"), [(True, 2), (False, 1)])
def test_terminal_wraps_words_unless_told_not_to(wordwrap: bool, n_lines: int) -> None:
    out = Terminal()
    AnswerWriter(out, wordwrap=wordwrap).content("word " * 20)
    assert len(out.getvalue().split("\n")) == n_lines


def test_tool_call_is_told_in_words() -> None:
    out = io.StringIO()
    calls: list[dict[str, Any]] = [{"function": {"name": "add", "arguments": {"a": 1}}}]
    AnswerWriter(out).tool_calls(calls)
    assert out.getvalue() == (
        "  Model called a non-existent function 'add()' with arguments: {\"a\": 1}\n"
    )
