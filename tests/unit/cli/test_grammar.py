"""How a command line is read."""

from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from cama.cli.grammar import Words, distribute
from cama.core.errors import InvalidOption


def parameters() -> list[Any]:
    """Those of a command ``MODEL [REST...]`` with flags of every kind."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def command(
        model: Annotated[str, typer.Argument()],
        rest: Annotated[list[str] | None, typer.Argument()] = None,
        verbose: Annotated[bool, typer.Option("--verbose", "-v")] = False,
        file: Annotated[str, typer.Option("--file", "-f")] = "default",
        think: Annotated[str, typer.Option("--think")] = "",
    ) -> None: ...

    return list(get_command(app).params)


@pytest.mark.parametrize(
    ("line", "options", "positional"),
    [
        ("m a b", {}, ["m", "a", "b"]),
        ("m a --verbose b", {"verbose": True}, ["m", "a", "b"]),
        ("--verbose=false m", {}, ["m"]),
        ("--file x m", {"file": "x"}, ["m"]),
        ("--file=x=y m", {"file": "x=y"}, ["m"]),
        ("--file= m", {"file": ""}, ["m"]),
        ("-f x m", {"file": "x"}, ["m"]),
        ("-fx m", {"file": "x"}, ["m"]),
        ("-f=x m", {"file": "x"}, ["m"]),
        ("-vf x m", {"verbose": True, "file": "x"}, ["m"]),
        ("-v=true m", {"verbose": True}, ["m"]),
        ("m --think low", {"think": "true"}, ["m", "low"]),
        ("m --think=low", {"think": "low"}, ["m"]),
        ("m -- --verbose -v", {}, ["m", "--verbose", "-v"]),
        ("m -", {}, ["m", "-"]),
    ],
)
def test_words_are_sorted(line: str, options: dict[str, Any], positional: list[str]) -> None:
    words = Words(parameters(), line.split())
    assert words.options == {"verbose": False, "file": "default", "think": ""} | options
    assert words.positional == positional


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--nope m", "unknown flag: --nope"),
        ("--v m", "unknown flag: --v"),
        ("-x m", "unknown shorthand flag: 'x' in -x"),
        ("-vx m", "unknown shorthand flag: 'x' in -vx"),
        ("m --file", "flag needs an argument: --file"),
        ("m -f", "flag needs an argument: -f"),
        ("--verbose=maybe", 'invalid argument "maybe" for --verbose: must be true or false'),
    ],
)
def test_wrong_words_are_named(line: str, text: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Words(parameters(), line.split())
    assert caught.value.message == text


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_wanted_anywhere(flag: str) -> None:
    assert Words(parameters(), ["m", flag]).wants_help


def test_distribute_gives_the_rest_to_the_last() -> None:
    assert distribute(parameters(), ["m", "a", "b"]) == {"model": "m", "rest": ["a", "b"]}


def test_distribute_refuses_too_few() -> None:
    with pytest.raises(InvalidOption, match=r"^requires at least 1 arg\(s\), only received 0$"):
        distribute(parameters(), [])
