"""POST /v1/completions."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from cama.api.access import tell_ignored
from cama.api.body import read_object
from cama.api.jobs import Job
from cama.api.names import CHAT
from cama.api.prompts import Prompt, check_ids, raw_prompt
from cama.api.services import services
from cama.runner.handle import Runner
from cama.wire.openai.completion_replies import Completion
from cama.wire.openai.completions import CompletionRequest
from cama.wire.openai.params import named
from cama.wire.openai.prompts import Text


async def completions(request: Request) -> Response:
    wanted = await read_object(request, CompletionRequest.read)
    tell_ignored(request, wanted.ignored)
    body = wanted.generate
    job = await Job.start(services(request), body, Completion(wanted), CHAT)
    job.require("generate")
    with named("suffix"):
        # In a thread, for a long template takes a while to read.
        insert = await asyncio.to_thread(job.inserting, "") if body.suffix else None

    async def written(runner: Runner, prompt: Text) -> Prompt:
        if insert is not None and isinstance(prompt, str):
            return raw_prompt(runner, await asyncio.to_thread(insert, prompt, body.suffix))
        return await _prompt(runner, prompt, is_shown=wanted.echo)

    async def prompts(runner: Runner) -> Sequence[Prompt]:
        made = [await written(runner, prompt) for prompt in wanted.prompts]
        return [replace(prompt, echo=wanted.echo) for prompt in made]

    return job.respond_to_all(prompts)


async def _prompt(runner: Runner, prompt: Text, *, is_shown: bool) -> Prompt:
    if isinstance(prompt, str):
        return raw_prompt(runner, prompt)
    check_ids(runner, prompt, "prompt")
    text = await runner.detokenize(prompt) if is_shown else ""
    return Prompt(text=text, tokens=prompt, add_special=False)
