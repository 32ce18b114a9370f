"""POST /api/chat: the next message of a conversation."""

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.jobs import Job, MakePrompt, refuse_missing
from cama.api.names import CHAT
from cama.api.prompts import Prompt, chat_prompt, stored_messages
from cama.api.services import Services, services
from cama.api.streaming import Answer
from cama.runner.handle import Runner
from cama.store.models import StoredModel
from cama.wire.answers import Dialect
from cama.wire.replies import ChatReplies
from cama.wire.requests import ChatRequest, Message


async def chat(request: Request) -> Response:
    body = await read(request, ChatRequest)
    return await converse(services(request), body, ChatReplies(body.model))


async def converse(has: Services, body: ChatRequest, dialect: Dialect) -> Answer:
    """The answer to ``body``, in whatever dialect it was asked."""
    job = await Job.start(has, body, dialect, CHAT)
    return job.respond(checked_prompt(job, body)) if body.messages else job.load("chat")


def checked_prompt(job: Job, body: ChatRequest) -> MakePrompt:
    """How the prompt of ``job``, which ``body`` asks for, is made. Raises Unsupported."""
    refuse_missing(body, images=any(message.images for message in body.messages))
    job.require("chat")

    async def prompt(runner: Runner) -> Prompt:
        return await chat_prompt(
            runner,
            job.template(runner),
            [job.answering.spelled(message) for message in _messages(body, job.model)],
            truncate=body.truncate,
            variables=job.variables,
        )

    return prompt


def _messages(body: ChatRequest, model: StoredModel) -> list[Message]:
    """The model's system text unless the request brings one, its messages, the request's."""
    needs_system = bool(model.system) and body.messages[0].role != "system"
    first = [Message(role="system", content=model.system or "")] if needs_system else []
    return [*first, *stored_messages(model), *body.messages]
