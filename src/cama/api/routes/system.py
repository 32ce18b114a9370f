"""What the server says of itself, and the routes that it does not have yet."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cama import __version__
from cama.api.problems import JSON, NotAvailable


async def root(request: Request) -> Response:
    """Clients look for these words to see whether a server is there."""
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    """Cama's own version, not that of the Ollama whose API this is."""
    return JSON({"version": __version__})


async def status(request: Request) -> Response:
    return JSON({"cloud": {"disabled": True, "source": "none"}})


async def unavailable(request: Request) -> Response:
    raise NotAvailable(f"{request.url.path} is not available in this version of Cama")
