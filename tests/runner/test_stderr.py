"""What is kept and logged of a runner's standard error."""

import asyncio
import logging

import pytest

from cama.runner.stderr import KEPT_LINES, MAX_LINE_BYTES, LastWords, follow


async def words_of(data: bytes) -> LastWords:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    words = LastWords()
    await follow(reader, 42, words)
    return words


async def test_follow_keeps_the_last_lines() -> None:
    words = await words_of(b"".join(b"line %d\n" % n for n in range(100)))
    assert words.lines == tuple(f"line {n}" for n in range(100 - KEPT_LINES, 100))


async def test_follow_keeps_a_last_line_without_end() -> None:
    assert (await words_of(b"one\ntwo")).lines == ("one", "two")


async def test_follow_cuts_a_line_that_never_ends() -> None:
    words = await words_of(b"x" * 1_000_000)
    assert all(len(line) <= MAX_LINE_BYTES for line in words.lines)


async def test_follow_makes_text_of_any_bytes() -> None:
    assert (await words_of(b"\xff\x1b[31mred\x07 \xc3\xa9\n")).lines == ("\ufffd?[31mred? é",)


async def test_follow_logs_with_the_level_of_the_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "cama.runner"):
        await words_of(b"2026-01-01T00:00:00 ERROR cama.engine: no\nplain\n")
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.ERROR, "[42] cama.engine: no"),
        (logging.INFO, "[42] plain"),
    ]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"all is well\n", None),
        (b"error: no memory\nbye\n", "error: no memory"),
        (b"CUDA error 2 at x\n", "CUDA error 2 at x"),
        (b"first error: a\nlast error: b\n", "last error: b"),
        (b"2026-01-01T00:00:00 ERROR cama.engine: no\nbye\n", "cama.engine: no"),
        (b"Traceback\n  File error: x\nKeyError: 'a'\n", "KeyError: 'a'"),
        (b"GGML_ASSERT(x) failed\nFatal Python error: Aborted\n", "GGML_ASSERT(x) failed"),
        (b"Fatal Python error: Segmentation fault\n", "Fatal Python error: Segmentation fault"),
    ],
)
async def test_error_is_the_line_that_says_why(data: bytes, error: str | None) -> None:
    assert (await words_of(data)).error == error


async def test_error_survives_a_long_stack_trace() -> None:
    frames = b'  File "x.py", line 1 in f\n' * 100
    assert (await words_of(b"GGML_ASSERT(x) failed\n" + frames)).error == "GGML_ASSERT(x) failed"
