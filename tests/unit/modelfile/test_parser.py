"""The Modelfile parser."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.core.errors import InvalidModelFile, InvalidModelfile, StoreError
from cama.modelfile.parser import (
    COMMANDS,
    SIZE_LIMIT,
    decode_modelfile,
    load_modelfile,
    parse_modelfile,
)


def parse(text: str) -> list[tuple[str, str, str]]:
    commands = parse_modelfile(text).commands
    return [(command.name, command.argument, command.value) for command in commands]


def value_of(line: str) -> str:
    return parse_modelfile(f"FROM x\n{line}\n").commands[-1].value


def test_parser_reads_every_command() -> None:
    text = """
        # a comment
        FROM llama:8b
        ADAPTER ./lora.gguf
        TEMPLATE {{ .Prompt }}
        SYSTEM You are short.
        LICENSE MIT
        MESSAGE user hi
        PARAMETER temperature 0.7
        RENDERER qwen3
        PARSER qwen3
        REQUIRES 0.14.0
        DRAFT small.gguf
    """
    assert parse(text) == [
        ("from", "", "llama:8b"),
        ("adapter", "", "./lora.gguf"),
        ("template", "", "{{ .Prompt }}"),
        ("system", "", "You are short."),
        ("license", "", "MIT"),
        ("message", "user", "hi"),
        ("parameter", "temperature", "0.7"),
        ("renderer", "", "qwen3"),
        ("parser", "", "qwen3"),
        ("requires", "", "0.14.0"),
        ("draft", "", "small.gguf"),
    ]


@pytest.mark.parametrize("word", ["from", "FROM", "From", "fRoM"])
def test_parser_reads_commands_in_any_case(word: str) -> None:
    assert parse(f"{word} x") == [("from", "", "x")]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\n\n\r"])
def test_parser_ends_lines_at_either_character(end: str) -> None:
    assert parse(f"FROM x{end}SYSTEM y") == [("from", "", "x"), ("system", "", "y")]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SYSTEM  a b\t ", "a b"),
        ("SYSTEM\ta", "a"),
        ("SYSTEM ", ""),
        ('SYSTEM "a b "', "a b "),
        ('SYSTEM ""', ""),
        ('SYSTEM "a" ', "a"),
        ("SYSTEM 'a'", "'a'"),
        ('SYSTEM say "hi"', 'say "hi"'),
        ("SYSTEM a # b", "a # b"),
        ('SYSTEM """a"""', "a"),
        ('SYSTEM """ a """ \t', " a "),
        ('SYSTEM """"""', ""),
        ('SYSTEM """a "quoted" word"""', 'a "quoted" word'),
        ('SYSTEM """\na\n\n  b\n"""', "\na\n\n  b\n"),
        ('SYSTEM """a\r\nb"""', "a\r\nb"),
        ('SYSTEM """"\nb"""', '"\nb'),
        ('SYSTEM "a\nb"', "a\nb"),
        ('SYSTEM "a" b\nc"', 'a" b\nc'),
        ('SYSTEM "\n"', "\n"),
        ('SYSTEM """\n"""', "\n"),
        ('SYSTEM """a\n# no comment\nSYSTEM no command"""', "a\n# no comment\nSYSTEM no command"),
        ("SYSTEM a\\nb", "a\\nb"),
        ("SYSTEM a\x00b\u00a0c\u200dd\u3000\x0c", "abcd"),
        ('SYSTEM \u00a0"a\x07\tb"', "a\tb"),
        ("SYSTEM größe 世界 🙂", "größe 世界 🙂"),
    ],
)
def test_parser_unquotes_values(line: str, value: str) -> None:
    assert value_of(line) == value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("FROM x\nFORM y", 2),
        ("\n\nFROM1 x", 3),
        ("FROM x\r\nBAD y", 3),
        ("FROM", 1),
        ("FROM\n", 1),
        ("FROM x\n1 y", 2),
        ("FROM x\n-", 2),
        ("FROM:x", 1),
        ("FROM x\nPARAMETER\n", 2),
        ('FROM x\nSYSTEM """a\nb"""\n?', 4),
    ],
)
def test_parser_names_the_line_of_a_bad_command(text: str, number: int) -> None:
    with pytest.raises(InvalidModelfile, match=rf'^\(line {number}\): command must be one of "fr'):
        parse_modelfile(text)


def test_parser_lists_the_commands() -> None:
    with pytest.raises(InvalidModelfile) as caught:
        parse_modelfile("x")
    message = caught.value.message
    assert all(f'"{name}"' in message for name in COMMANDS)
    assert message.endswith('"message", or "requires"')


@pytest.mark.parametrize("line", ["MESSAGE bad hi", "MESSAGE User hi", "MESSAGE  user hi"])
def test_parser_refuses_other_roles(line: str) -> None:
    with pytest.raises(
        InvalidModelfile,
        match=r'^\(line 2\): message role must be one of "system", "user", or "assistant"$',
    ):
        parse_modelfile(f"FROM x\n{line}")


@pytest.mark.parametrize(
    "line",
    [
        "PARAMETER x", "PARAMETER x\nSYSTEM y", "PARAMETER top-k 1", "MESSAGE user",
        "MESSAGE us3r hi", 'SYSTEM "a', 'SYSTEM """a', 'SYSTEM """a""', 'SYSTEM "', 'SYSTEM """"',
        'SYSTEM "a" b',
    ],
)  # fmt: skip
def test_parser_reports_an_unexpected_end(line: str) -> None:
    with pytest.raises(InvalidModelfile, match=r"^unexpected EOF") as caught:
        parse_modelfile(f"FROM x\n{line}\n")
    assert caught.value.fields["line"] == 2
    assert "\n" not in caught.value.message


def test_parser_takes_two_blanks_for_an_empty_parameter_name() -> None:
    assert parse("FROM x\nPARAMETER  top_k 1")[1] == ("parameter", "", "top_k 1")


@pytest.mark.parametrize("text", ["", "\n", "# FROM x", "SYSTEM y"])
def test_parser_needs_a_from(text: str) -> None:
    with pytest.raises(InvalidModelfile, match=r"^no FROM line$"):
        parse_modelfile(text)


def test_modelfile_last_is_the_one_that_counts() -> None:
    modelfile = parse_modelfile("FROM x\nSYSTEM a\nSYSTEM b")
    assert modelfile.last("system") == "b"
    assert modelfile.last("template") == ""


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
    ],
)
def test_decode_modelfile_follows_the_byte_order_mark(encoding: str, mark: bytes) -> None:
    assert decode_modelfile(mark + "FROM größe".encode(encoding)) == "FROM größe"


def test_decode_modelfile_replaces_what_is_not_text() -> None:
    assert decode_modelfile(b"FROM a\xff") == "FROM a\ufffd"


def test_load_modelfile_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_bytes(b"#" * (SIZE_LIMIT + 1))
    with pytest.raises(InvalidModelFile, match="larger than"):
        load_modelfile(path)
    path.write_text("FROM x")
    assert load_modelfile(path).last("from") == "x"


def test_load_modelfile_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Modelfile: No such file"):
        load_modelfile(tmp_path / "Modelfile")


@given(st.text(alphabet=st.sampled_from('FROMSYTEPARmessagu "\n\r\t#x1_'), max_size=60))
def test_parser_reads_or_refuses_any_text(text: str) -> None:
    with contextlib.suppress(InvalidModelfile):
        assert parse_modelfile(text).all("from")
