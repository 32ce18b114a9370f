"""The parent's side against real processes: loading, streaming, cancelling, dying."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import aclosing

import pytest

from cama.core.errors import (
    EngineError,
    InvalidConstraint,
    InvalidModelFile,
    InvalidRequest,
    LoadFailed,
    PromptTooLong,
    RunnerCrashed,
    RunnerError,
    UnsupportedModel,
)
from cama.core.generation import Chunk, Constraint, Finish, Generation, Sampling
from cama.core.model import ModelSpec
from cama.runner.handle import Runner, start_runner
from tests.runner.conftest import FAKE_CHILD, StartFake, process_exists

pytestmark = pytest.mark.e2e

ENDLESS = Generation(prompt="go on", add_special=False)


async def answer(
    runner: Runner, prompt: str, num_predict: int = -1, constraint: Constraint | None = None
) -> tuple[str, Finish]:
    text, finish = "", None
    generation = Generation(
        prompt=prompt,
        add_special=False,
        num_predict=num_predict,
        sampling=Sampling(temperature=0),
        constraint=constraint,
    )
    async for event in runner.generate(generation):
        if isinstance(event, Chunk):
            text += event.text
        else:
            finish = event
    assert finish is not None
    return text, finish


async def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


async def test_runner_streams_an_answer_to_its_finish(start_fake: StartFake) -> None:
    text, finish = await answer(await start_fake(), "hello")
    assert text == " world"
    assert (finish.reason, finish.prompt_tokens, finish.eval_tokens) == ("stop", 5, 7)


async def test_runner_holds_an_answer_to_its_constraint(start_fake: StartFake) -> None:
    runner = await start_fake()
    constraint = Constraint(kind="regex", text=" w[0-9]{3}")
    text, finish = await answer(runner, "hello", constraint=constraint)
    assert re.fullmatch(constraint.text, text)
    assert finish.reason == "stop"


async def test_runner_refuses_a_bad_constraint_and_goes_on(start_fake: StartFake) -> None:
    runner = await start_fake()
    with pytest.raises(InvalidConstraint, match="invalid regular expression: unclosed group"):
        await answer(runner, "hello", constraint=Constraint(kind="regex", text="("))
    assert (await answer(runner, "hello"))[0] == " world"


async def test_runner_reports_facts_of_the_model(start_fake: StartFake) -> None:
    info = (await start_fake(n_ctx=300)).info
    assert (info.engine, info.n_ctx, info.n_vocab) == ("fake", 300, 260)
    assert (info.bos_text, info.eos_text) == ("<s>", "</s>")
    assert info.rss_bytes > 0


async def test_runner_tokenizes_and_back(start_fake: StartFake) -> None:
    runner = await start_fake()
    tokens = await runner.tokenize("hi é", add_special=True)
    assert tokens == [256, *"hi é".encode()]
    assert await runner.detokenize(tokens) == "hi é"


async def test_runner_tokenizes_a_long_text(start_fake: StartFake) -> None:
    text = "long " * 100_000
    assert len(await (await start_fake()).tokenize(text)) == len(text)


async def test_runner_answers_several_requests_at_once(start_fake: StartFake) -> None:
    runner = await start_fake()
    alone = await answer(runner, "one", num_predict=20)
    prompts = ["one", "two", "three", "four"]
    together = await asyncio.gather(*(answer(runner, p, num_predict=20) for p in prompts))
    assert [finish.eval_tokens for _, finish in together] == [20] * 4
    assert together[0][0] == alone[0]


async def test_runner_raises_what_the_engine_reports_and_goes_on(start_fake: StartFake) -> None:
    runner = await start_fake()
    with pytest.raises(EngineError, match="out of sorts"):
        await answer(runner, "!error")
    assert (await answer(runner, "hello"))[0] == " world"


async def test_runner_refuses_a_prompt_that_is_too_long(start_fake: StartFake) -> None:
    runner = await start_fake(n_ctx=64)
    with pytest.raises(PromptTooLong):
        async for _ in runner.generate(Generation(prompt="x" * 100, truncate=False)):
            pass


@pytest.mark.parametrize("token", [-1, 260, 1 << 40])
async def test_runner_refuses_tokens_that_the_model_lacks(
    start_fake: StartFake, token: int
) -> None:
    runner = await start_fake()
    with pytest.raises(InvalidRequest, match="not a token"):
        await runner.detokenize([token])
    with pytest.raises(InvalidRequest, match="not a token"):
        async for _ in runner.generate(Generation(prompt=(1, token))):
            pass


async def test_closing_the_iterator_cancels_the_generation(start_fake: StartFake) -> None:
    runner = await start_fake(n_parallel=1)
    async with aclosing(runner.generate(ENDLESS)) as events:
        assert isinstance(await anext(events), Chunk)
    # The only sequence is free again: without the cancellation this would wait for ever.
    assert (await answer(runner, "hello"))[0] == " world"


async def test_cancelling_the_reader_before_any_event_cancels_the_generation(
    start_fake: StartFake,
) -> None:
    runner = await start_fake(n_parallel=1)
    async with aclosing(runner.generate(ENDLESS)) as running:
        await anext(running)
        waiting = asyncio.create_task(answer(runner, "waits for the first"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert (await answer(runner, "hello"))[0] == " world"


async def test_a_runner_killed_in_mid_stream_fails_its_requests(start_fake: StartFake) -> None:
    runner = await start_fake()
    events = runner.generate(ENDLESS)
    await anext(events)
    os.kill(runner.pid, signal.SIGKILL)
    with pytest.raises(RunnerCrashed, match=r"unexpectedly stopped.*\(killed by SIGKILL\)"):
        [_ async for _ in events]
    assert not runner.alive


async def test_a_failed_assertion_is_named_in_the_error(start_fake: StartFake) -> None:
    runner = await start_fake()
    with pytest.raises(RunnerCrashed, match=r"GGML_ASSERT\(rows > 0\) failed"):
        await answer(runner, "!assert")


async def test_a_bug_on_the_engine_thread_ends_the_runner(start_fake: StartFake) -> None:
    runner = await start_fake()
    with pytest.raises(RunnerError):
        await answer(runner, "!bug")
    while runner.alive:
        await asyncio.sleep(0.01)
    with pytest.raises(RunnerCrashed, match="RuntimeError: a bug in the engine"):
        await answer(runner, "hello")


async def test_a_dead_runner_fails_every_call(start_fake: StartFake) -> None:
    runner = await start_fake()
    os.kill(runner.pid, signal.SIGKILL)
    with pytest.raises(RunnerCrashed):
        await runner.tokenize("hi")


async def test_close_ends_and_reaps_the_process(start_fake: StartFake) -> None:
    runner = await start_fake()
    await runner.close()
    assert not runner.alive
    assert not process_exists(runner.pid)
    await runner.close()


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("invalid", InvalidModelFile, "the file is damaged"),
        ("unsupported", UnsupportedModel, "no engine runs this"),
        ("bug", LoadFailed, "process has terminated: KeyError: 'blk.0.attn_q'"),
        ("assert", LoadFailed, r"process has terminated: .*GGML_ASSERT\(rows > 0\) failed"),
        ("exit", LoadFailed, "process has terminated: exit status 7"),
    ],
)
async def test_a_load_that_fails_says_why(
    start_fake: StartFake, script: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        await start_fake(script)


async def test_an_error_of_the_load_keeps_its_fields(start_fake: StartFake) -> None:
    with pytest.raises(InvalidModelFile) as caught:
        await start_fake("invalid")
    assert caught.value.fields["field"] == "header.magic"


async def test_a_load_without_progress_times_out(start_fake: StartFake) -> None:
    before = await children_of(os.getpid())
    with pytest.raises(LoadFailed, match=r"timed out waiting for model runner.* progress 0\.42"):
        await start_fake("hang", load_timeout=3)
    assert await children_of(os.getpid()) == before


async def test_a_load_reports_its_progress(make_spec: Callable[..., ModelSpec]) -> None:
    seen: list[float] = []
    runner = await start_runner(
        make_spec("steps"), load_timeout=60, progress=seen.append, command=FAKE_CHILD
    )
    await runner.close()
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
    assert seen[-1] == 1.0


async def test_a_cancelled_start_leaves_no_process(start_fake: StartFake) -> None:
    before = await children_of(os.getpid())
    task = asyncio.create_task(start_fake("hang"))
    deadline = time.monotonic() + 30
    while await children_of(os.getpid()) == before and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await children_of(os.getpid()) == before


async def test_a_command_that_is_no_runner_fails_the_load(
    make_spec: Callable[..., ModelSpec],
) -> None:
    command = [sys.executable, "-c", "raise SystemExit('error: not today')"]
    with pytest.raises(LoadFailed, match="error: not today"):
        await start_runner(make_spec(), load_timeout=60, command=command)


@pytest.mark.parametrize("words", ["hello", "[]", '{"port": null}'])
async def test_a_runner_that_says_anything_but_its_port_fails_the_load(
    make_spec: Callable[..., ModelSpec], words: str
) -> None:
    command = [sys.executable, "-c", f"print({words!r})"]
    with pytest.raises(LoadFailed, match="instead of its port"):
        await start_runner(make_spec(), load_timeout=60, command=command)


async def test_a_runner_that_cannot_be_executed_fails_the_load(
    make_spec: Callable[..., ModelSpec],
) -> None:
    with pytest.raises(LoadFailed, match="cannot start a model runner: No such file"):
        await start_runner(make_spec(), load_timeout=60, command=["/nowhere/python"])


def test_a_runner_serves_under_uvloop(make_spec: Callable[..., ModelSpec]) -> None:
    async def whole_life() -> str:
        runner = await start_runner(make_spec(), load_timeout=60, command=FAKE_CHILD)
        text, _ = await answer(runner, "hello")
        await runner.close()
        assert not runner.alive
        with pytest.raises(LoadFailed, match="exit status 7"):
            await start_runner(make_spec("exit"), load_timeout=60, command=FAKE_CHILD)
        return text

    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(whole_life()) == " world"


def test_killed_runners_are_noticed_under_uvloop(make_spec: Callable[..., ModelSpec]) -> None:
    async def killed() -> None:
        runner = await start_runner(make_spec(), load_timeout=60, command=FAKE_CHILD)
        events = runner.generate(ENDLESS)
        await anext(events)
        os.kill(runner.pid, signal.SIGKILL)
        [_ async for _ in events]

    uvloop = pytest.importorskip("uvloop")
    died = pytest.raises(RunnerCrashed, match="killed by SIGKILL")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, died:
        runner.run(killed())
