"""``cama show``: what is known of a model, or one item of it."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cama.cli.background import connect
from cama.cli.description import describe
from cama.cli.reference import model_reference
from cama.cli.terminal import clean, is_terminal
from cama.client.fields import text
from cama.core.errors import InvalidOption
from cama.core.settings import Settings


def command(  # noqa: PLR0917 - one parameter per flag
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    license: Annotated[bool, typer.Option("--license", help="Show its license")] = False,
    modelfile: Annotated[bool, typer.Option("--modelfile", help="Show its Modelfile")] = False,
    parameters: Annotated[bool, typer.Option("--parameters", help="Show its parameters")] = False,
    system: Annotated[bool, typer.Option("--system", help="Show its system message")] = False,
    template: Annotated[bool, typer.Option("--template", help="Show its template")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show metadata and tensors too")
    ] = False,
) -> None:
    selected = [
        name
        for name, wanted in (
            ("license", license),
            ("modelfile", modelfile),
            ("parameters", parameters),
            ("system", system),
            ("template", template),
        )
        if wanted
    ]
    if len(selected) > 1:
        raise InvalidOption(
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' "
            "can be specified"
        )
    facts = connect(Settings.load()).show(model_reference(model), verbose=verbose)
    shown = item(facts, selected[0]) if selected else describe(facts, verbose=verbose)
    sys.stdout.write(clean(shown) if is_terminal(sys.stdout) else shown)


def item(facts: Mapping[str, Any], name: str) -> str:
    """One item as it is; the texts a model is prompted with get no line break of ours."""
    return text(facts, name) + ("" if name in ("system", "template") else "\n")
