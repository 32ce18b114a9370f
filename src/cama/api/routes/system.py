"""What the server says of itself."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cama import __version__
from cama.api.problems import JSON


async def root(request: Request) -> Response:
    """Clients look for these words to see whether a server is there."""
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    """Cama's own version, not that of the Ollama whose API this is."""
    return JSON({"version": __version__})


async def status(request: Request) -> Response:
    return JSON({"cloud": {"disabled": True, "source": "none"}})
