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
from cama.wire.answers import Dialect
from cama.wire.anthropic.replies import MessageReplies, count_reply
from cama.wire.anthropic.request import CountRequest, MessagesRequest, check_version
from cama.wire.replies import ChatReplies


async def messages(request: Request) -> Response:
    check_version(request.headers.get("anthropic-version", ""))
    wanted = await read_object(request, MessagesRequest.read)
    dialect = MessageReplies(wanted)
    job = await _start(request, wanted, dialect)
    prompt = checked_prompt(job, wanted.chat)

    async def counted(runner: Runner) -> Prompt:
        made = await prompt(runner)
        dialect.n_prompt_tokens = await prompts.count_tokens(runner, made)
        return made

    return job.respond(counted if wanted.chat.stream else prompt)


async def count_tokens(request: Request) -> Response:
    """The model is loaded, for it alone knows what a token is."""
    check_version(request.headers.get("anthropic-version", ""))
    wanted = await read_object(request, CountRequest.read)
    job = await _start(request, wanted, ChatReplies(wanted.chat.model))
    return job.count(checked_prompt(job, wanted.chat), count_reply)


async def _start(request: Request, wanted: CountRequest, dialect: Dialect) -> Job:
    """Clients of this API ask every model to think: one that cannot answers without."""
    tell_ignored(request, wanted.ignored)
    job = await Job.start(services(request), wanted.chat, dialect, CHAT)
    if not wanted.chat.think or job.can_think:
        return job
    tell_ignored(request, (*wanted.ignored, wanted.think_field))
    return job.without_thoughts()
