"""``cama push``: send a model to a registry."""

from typing import TYPE_CHECKING, Annotated

import typer

from cama.cli import transfer
from cama.cli.background import connect
from cama.core.errors import CamaError
from cama.core.settings import Settings

if TYPE_CHECKING:  # imported by the command alone
    from cama.store.names import ModelName

_OURS = (".ollama.ai", ".ollama.com")
_DENIED = (
    "you are not authorized to push to this namespace, create the model under a namespace you own"
)


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    insecure: Annotated[bool, typer.Option("--insecure", help="Use http, without TLS")] = False,
) -> None:
    from cama.store.names import ModelName

    name = ModelName.parse(model)
    client = connect(Settings.load())
    try:
        transfer.show(client.push(model, insecure=insecure))
    except CamaError as error:
        if "access denied" in error.message:
            raise CamaError(_DENIED) from error
        raise
    print(f"\nYou can find your model at:\n\n\t{destination(name)}")


def destination(name: "ModelName") -> str:
    """Where people look for a model: Ollama's registry has pages, others the name alone."""
    if name.host.endswith(_OURS):
        return "https://ollama.com/" + name.short.removesuffix(":latest")
    return name.full
