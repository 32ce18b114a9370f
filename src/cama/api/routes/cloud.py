"""What of Ollama's API needs ollama.com: here nobody is signed in, and there is no cloud."""

from starlette.requests import Request
from starlette.responses import Response

from cama.api.problems import JSON, CloudDisabled, SignedOut


async def me(request: Request) -> Response:
    raise SignedOut("unauthorized")


async def sign_out(request: Request) -> Response:
    raise SignedOut("you are not currently signed in")


async def web_search(request: Request) -> Response:
    raise CloudDisabled("ollama cloud is disabled: web search is unavailable")


async def web_fetch(request: Request) -> Response:
    raise CloudDisabled("ollama cloud is disabled: web fetch is unavailable")


async def recommendations(request: Request) -> Response:
    """What to pull is nobody's business but the user's."""
    return JSON({"recommendations": []})
