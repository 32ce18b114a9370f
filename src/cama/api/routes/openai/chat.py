"""POST /v1/chat/completions."""

from starlette.requests import Request
from starlette.responses import Response

from cama.api.access import tell_ignored
from cama.api.body import read_object
from cama.api.routes.chat import converse
from cama.api.services import services
from cama.wire.openai.chat import ChatCompletionRequest
from cama.wire.openai.chat_replies import ChatCompletion


async def chat_completions(request: Request) -> Response:
    wanted = await read_object(request, ChatCompletionRequest.read)
    tell_ignored(request, wanted.ignored)
    return await converse(services(request), wanted.chat, ChatCompletion(wanted))
