"""What the server says of itself."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cama import __version__
from cama.api.problems import JSON

OLLAMA_VERSION = "0.20.0"
"""The release of Ollama whose API this is. Clients refuse an older one than they know: Copilot in
Visual Studio Code wants 0.6.4, and would not talk to Cama by its own number."""


async def root(request: Request) -> Response:
    """Clients look for these words to see whether a server is there."""
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    """``version`` is that of the API, by which clients tell what they may ask for."""
    return JSON({"version": OLLAMA_VERSION, "cama": __version__})


async def status(request: Request) -> Response:
    return JSON({"cloud": {"disabled": True, "source": "none"}})
