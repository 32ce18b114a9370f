"""POST /api/generate: a prompt continued."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.history import single_turn
from cama.api.jobs import Job
from cama.api.names import GENERATE
from cama.api.prompts import Prompt, chat_prompt, continued, raw_prompt
from cama.api.services import services
from cama.core.errors import InvalidRequest
from cama.runner.handle import Runner
from cama.templates.ollama import OllamaTemplate
from cama.wire.replies import GenerateReplies
from cama.wire.requests import GenerateRequest


async def generate(request: Request) -> Response:
    body = await read(request, GenerateRequest)
    job = await Job.start(services(request), body, GenerateReplies(body.model), GENERATE)
    _check(body)
    if not body.prompt:
        return job.load("generate")
    job.require("generate")
    messages = single_turn(body, job.model)
    job.require_sight(messages)

    # In a thread, for a long template takes a while to read.
    own = await asyncio.to_thread(OllamaTemplate, body.template) if body.template else None
    inserting = await asyncio.to_thread(job.inserting, body.template) if body.suffix else None

    async def prompt(runner: Runner) -> Prompt:
        if body.raw:
            return raw_prompt(runner, body.prompt)
        if inserting is not None:
            return raw_prompt(runner, await asyncio.to_thread(inserting, body.prompt, body.suffix))
        rendered = await chat_prompt(
            runner,
            own or job.template(runner),
            messages,
            truncate=body.truncate,
            variables=job.variables,
        )
        return await continued(runner, rendered, body.context)

    return job.respond(prompt)


def _check(body: GenerateRequest) -> None:
    if body.raw and (body.template or body.system or body.context):
        raise InvalidRequest("raw mode does not support template, system, or context")
    if body.suffix and (body.raw or body.context):
        raise InvalidRequest("suffix goes with neither raw mode nor context")
    if body.images and (body.raw or body.suffix or body.context):
        raise InvalidRequest(
            "images go with neither raw mode, nor a suffix, nor a context", field="images"
        )
