"""POST /v1/chat/completions."""

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read_object
from cama.api.routes.chat import converse
from cama.api.services import services
from cama.wire.openai.chat import ChatCompletionRequest
from cama.wire.openai.chat_replies import ChatCompletion
from cama.wire.openai.fields import ignored_header


async def chat_completions(request: Request) -> Response:
    wanted = await read_object(request, ChatCompletionRequest.read)
    answer = await converse(services(request), wanted.chat, ChatCompletion(wanted))
    answer.headers.update(ignored_header(wanted.ignored))
    return answer
