"""Models with running states: a common beginning is read once, from the nearest checkpoint on."""

import random

import pytest

from cama.engine.loop import Loop
from tests.engine.fake import EOG, CheckpointedEngine, FakeEngine
from tests.engine.sinks import Sink, answer, drain, generation, submit

SYSTEM = "You are a camel, and you answer the questions of travellers shortly and kindly. "


def _chat(*turns: str) -> list[int]:
    """A prompt whose turns end in a token that ends generation, as chat templates make them."""
    tokens: list[int] = []
    for turn in turns:
        tokens += [*turn.encode(), EOG]
    return [*tokens, *b"camel:"]


def _ask(loop: Loop, name: str, prompt: list[int], *, n: int = 5) -> Sink:
    sink = Sink()
    loop.submit(name, prompt, generation(num_predict=n), sink)
    return sink


def _n_evaluated(engine: FakeEngine) -> int:
    return sum(plan.n_tokens for plan in engine.plans)


def _alone(prompt: str, n_predict: int) -> str:
    return answer(FakeEngine(n_ctx=512), prompt, num_predict=n_predict).text


def test_system_prompt_of_two_requests_is_read_once() -> None:
    engine = CheckpointedEngine(n_ctx=512)
    loop = Loop(engine)
    first = _ask(loop, "1", _chat(SYSTEM, "Where is the next well?"))
    drain(loop)
    second = _ask(loop, "2", _chat(SYSTEM, "How far is it to the mountains?"))
    drain(loop)
    assert first.finish.cached_tokens == 0
    assert second.finish.cached_tokens == len(SYSTEM) + 1
    # both questions begin with the same letter or not; what they share behind it is too short
    assert second.finish.miss_reason in ("diverged", "not_resumable")


def test_place_where_texts_part_is_remembered_for_the_third() -> None:
    engine = CheckpointedEngine(n_ctx=512)
    loop = Loop(engine)
    found = []
    for i in range(3):
        sink = submit(loop, engine, str(i), f"{SYSTEM}{i} is my number", num_predict=3)
        drain(loop)
        found.append((sink.finish.cached_tokens, sink.finish.miss_reason))
    assert found == [(0, "new"), (0, "not_resumable"), (len(SYSTEM), "diverged")]


def test_same_prompt_again_is_in_the_cache_but_for_its_last_token() -> None:
    engine = CheckpointedEngine(n_ctx=512)
    loop = Loop(engine)
    sinks = []
    for i in range(2):
        sinks.append(submit(loop, engine, str(i), SYSTEM, num_predict=9))
        drain(loop)
    assert sinks[1].finish.cached_tokens == len(SYSTEM) - 1
    assert sinks[1].finish.miss_reason is None
    assert sinks[0].text == sinks[1].text == _alone(SYSTEM, 9)


def test_conversation_goes_on_where_the_answer_is_told_in_another_way() -> None:
    engine = CheckpointedEngine(n_ctx=512)
    loop = Loop(engine)
    question = [*SYSTEM.encode(), EOG, *b"Where is the next well, and how deep?", EOG]
    _ask(loop, "1", [*question, *b"camel:"], n=20)
    drain(loop)
    again = _ask(loop, "2", _chat(SYSTEM, "Where is the next well, and how deep?", "There.", "?"))
    drain(loop)
    assert again.finish.cached_tokens == len(question)


def test_prompt_of_several_choices_is_read_once() -> None:
    engine = CheckpointedEngine(n_ctx=512)
    loop = Loop(engine)
    sinks = [submit(loop, engine, str(i), "short one", num_predict=4) for i in range(4)]
    drain(loop)
    n_prompt = len("short one")
    assert _n_evaluated(engine) == n_prompt + 3 * 1 + 4 * 3
    assert [sink.finish.cached_tokens for sink in sinks] == [0, *[n_prompt - 1] * 3]
    assert {sink.text for sink in sinks} == {_alone("short one", 4)}


def test_common_beginning_of_requests_that_come_at_once_is_read_once() -> None:
    engine = CheckpointedEngine(n_ctx=512, n_batch=32)
    loop = Loop(engine)
    prompts = [f"{SYSTEM}I am traveller number {i}." for i in range(6)]
    sinks = [submit(loop, engine, p, p, num_predict=5) for p in prompts]
    drain(loop)
    n_common = len(SYSTEM + "I am traveller number ")
    assert [sink.text for sink in sinks] == [_alone(p, 5) for p in prompts]
    assert sorted(sink.finish.cached_tokens for sink in sinks) == [0, *[n_common] * 5]


def test_turn_continues_at_the_end_of_the_answer_and_can_be_asked_again() -> None:
    engine = CheckpointedEngine(n_ctx=512, n_seq_max=1)
    loop = Loop(engine)
    first = submit(loop, engine, "1", SYSTEM, num_predict=40)
    drain(loop)
    told = SYSTEM + first.text
    for i, more in enumerate(["? And then what happened?", "! Tell it in another way."]):
        turn = submit(loop, engine, f"more {i}", told + more, num_predict=3)
        drain(loop)
        # the newest token of an answer is not evaluated
        assert turn.finish.cached_tokens == len(told) - 1


def test_full_window_shifts_from_the_kept_tokens_on() -> None:
    engine = CheckpointedEngine(n_ctx=64, n_batch=16)
    loop = Loop(engine)
    sink = submit(loop, engine, "long", SYSTEM[:40], num_predict=120, num_keep=33)
    drain(loop)
    assert sink.finish.eval_tokens == 120
    assert sink.finish.shifted_tokens > 0
    resumed = [plan.spans[0].start for plan in engine.plans if plan.spans[0].start == 33]
    assert len(resumed) > 2


@pytest.mark.parametrize("n_checkpoints", [0, 2, 16])
def test_storm_gives_the_same_texts_and_leaves_nothing_behind(n_checkpoints: int) -> None:
    engine = CheckpointedEngine(
        n_ctx=256, n_batch=32, n_cells=640, n_seq_max=8, n_checkpoints=n_checkpoints
    )
    loop = Loop(engine, 4)
    chance = random.Random(n_checkpoints)
    trunks = ["", SYSTEM, SYSTEM[:70], SYSTEM + "Listen: "]
    sinks: list[tuple[str, int, Sink]] = []
    for i in range(200):
        prompt = chance.choice(trunks) + "x" * chance.randint(1, 50) + chance.choice(["", "?"])
        n = chance.randint(1, 20)
        sinks.append((prompt, n, submit(loop, engine, str(i), prompt, num_predict=n)))
        for _ in range(chance.choice([0, 0, 1, 5])):
            loop.step()
        if chance.random() < 0.1:
            loop.cancel(str(chance.randrange(i + 1)))
        if i % 10 == 0:
            loop.check_integrity()
    drain(loop)
    loop.check_integrity()
    finished = [(p, n, sink) for p, n, sink in sinks if sink.is_over]
    assert len(finished) > 150
    for prompt, n, sink in finished[::7]:
        assert sink.text == _alone(prompt, n)
    while loop._cache.evict():
        pass
    assert engine.free_cells == engine.info.n_cells
