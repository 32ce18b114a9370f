"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's API."""

from starlette.requests import Request
from starlette.responses import Response

from cama.api import prompts
from cama.api.access import tell_ignored
from cama.api.body import read_object
from cama.api.jobs import Job
from cama.api.names import CHAT
from cama.api.prompts import Prompt
from cama.api.routes.chat import checked_prompt
from cama.api.services import services
from cama.runner.handle import Runner
from cama.wire.anthropic.replies import MessageReplies, count_reply
from cama.wire.anthropic.request import MessagesRequest, check_version, read_count
from cama.wire.replies import ChatReplies


async def messages(request: Request) -> Response:
    check_version(request.headers.get("anthropic-version", ""))
    wanted = await read_object(request, MessagesRequest.read)
    tell_ignored(request, wanted.ignored)
    dialect = MessageReplies(wanted)
    job = await Job.start(services(request), wanted.chat, dialect, CHAT)
    prompt = checked_prompt(job, wanted.chat)

    async def counted(runner: Runner) -> Prompt:
        made = await prompt(runner)
        dialect.n_prompt_tokens = await prompts.count_tokens(runner, made)
        return made

    return job.respond(counted if wanted.chat.stream else prompt)


async def count_tokens(request: Request) -> Response:
    """The model is loaded, for it alone knows what a token is."""
    check_version(request.headers.get("anthropic-version", ""))
    chat = await read_object(request, read_count)
    job = await Job.start(services(request), chat, ChatReplies(chat.model), CHAT)
    return job.count(checked_prompt(job, chat), count_reply)
