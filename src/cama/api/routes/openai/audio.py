"""POST /v1/audio/transcriptions: no model hears yet."""

from starlette.requests import Request
from starlette.responses import Response

from cama.core.errors import Unsupported


async def transcriptions(request: Request) -> Response:
    raise Unsupported("audio is not supported by this version of Cama", field="file")
