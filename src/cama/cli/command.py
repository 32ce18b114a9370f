"""A Typer command that reads its arguments and shows its help as Ollama's commands do."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from cama.cli.catalog import COMMANDS
from cama.cli.grammar import Words, distribute
from cama.core.settings import Settings


def invoke(name: str, function: Callable[..., None], words: Sequence[str]) -> int:
    """Run the command called ``name``, which ``function`` is; returns its exit status."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"]}
    declare = app.command(name, cls=Command, help=COMMANDS[name].summary, context_settings=settings)
    declare(function)
    command = typer.main.get_command(app)
    # Not command.main(): it has its own ideas of interrupts, broken pipes and statuses.
    try:
        with command.make_context(f"cama {name}", list(words)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    return 0


class Command(TyperCommand):
    """The types of context and formatter stay open: they are of a library private to Typer."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = Words(self.params, args)
        if words.wants_help:
            print(ctx.get_help())
            ctx.exit()
        ctx.params = words.options | distribute(self.params, words.positional)
        return []

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = (p for p in self.params if isinstance(p, TyperArgument))
        return [*map(_usage_piece, arguments), "[flags]"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        options = (p for p in self.get_params(ctx) if isinstance(p, TyperOption))
        rows = [row for option in options if (row := option.get_help_record(ctx))]
        with formatter.section("Flags"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Environment Variables"):
            formatter.write_dl(_environment(COMMANDS[str(self.name)].variables))


def _usage_piece(argument: Any) -> str:
    """``NAME``, ``NAME...``, or either in brackets when it may be left out."""
    piece = str(argument.metavar) + ("..." if argument.nargs == -1 else "")
    return piece if argument.required else f"[{piece}]"


def _environment(variables: Sequence[str]) -> list[tuple[str, str]]:
    """What each of these settings means."""
    known = {item.metadata["variables"][0]: item.metadata["help"] for item in fields(Settings)}
    return [(name, known[name]) for name in variables]
