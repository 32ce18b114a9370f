"""POST /api/chat: the next message of a conversation."""

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.history import conversation
from cama.api.jobs import Job, MakePrompt
from cama.api.names import CHAT
from cama.api.prompts import Prompt, chat_prompt
from cama.api.services import Services, services
from cama.api.streaming import Answer
from cama.runner.handle import Runner
from cama.wire.answers import Dialect
from cama.wire.replies import ChatReplies
from cama.wire.requests import ChatRequest


async def chat(request: Request) -> Response:
    body = await read(request, ChatRequest)
    return await converse(services(request), body, ChatReplies(body.model))


async def converse(has: Services, body: ChatRequest, dialect: Dialect) -> Answer:
    """The answer to ``body``, in whatever dialect it was asked."""
    job = await Job.start(has, body, dialect, CHAT)
    return job.respond(checked_prompt(job, body)) if body.messages else job.load("chat")


def checked_prompt(job: Job, body: ChatRequest) -> MakePrompt:
    """How the prompt of ``job``, which ``body`` asks for, is made. Raises Unsupported."""
    job.require("chat")
    job.require_sight(body.messages)

    async def prompt(runner: Runner) -> Prompt:
        return await chat_prompt(
            runner,
            job.template(runner),
            [job.answering.spelled(message) for message in conversation(body, job.model)],
            truncate=body.truncate,
            variables=job.variables,
        )

    return prompt
