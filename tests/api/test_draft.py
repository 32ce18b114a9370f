"""The options ``draft_model`` and ``num_draft``: a small model that guesses for a larger one."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cama.core.generation import Generation
from cama.core.load import Draft
from cama.store.store import Store
from tests.api.fakes import FakeRunner, FakeScheduler, finish


async def ask(api: httpx.AsyncClient, model: str = "chatty", **options: Any) -> httpx.Response:
    body = {"model": model, "prompt": "Hi", "stream": False, "options": options}
    return await api.post("/api/generate", json=body)


async def test_draft_model_is_loaded_with_the_model(
    api: httpx.AsyncClient, scheduler: FakeScheduler, store: Store
) -> None:
    assert (await ask(api, draft_model="base")).status_code == 200
    (spec, _), model, draft = scheduler.leases[0], store.get("chatty"), store.get("base")
    assert spec.load.draft == Draft(path=draft.path, digest=draft.digest)
    assert spec.key == str(model.path)
    assert spec.weights_bytes == model.size + draft.size


async def test_model_is_loaded_alone_unless_told_otherwise(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    await ask(api)
    await ask(api, draft_model="")
    assert [spec.load.draft for spec, _ in scheduler.leases] == [None, None]


async def test_modelfile_may_name_the_draft_model(
    api: httpx.AsyncClient,
    scheduler: FakeScheduler,
    runner: FakeRunner,
    create: Callable[..., None],
) -> None:
    create("quick", "PARAMETER draft_model base\nPARAMETER num_draft 3")
    await ask(api, "quick")
    await ask(api, "quick", draft_model="", num_draft=0)
    drafts = [spec.load.draft for spec, _ in scheduler.leases]
    assert drafts[0] is not None
    assert drafts[1] is None
    assert [one.num_draft for one in runner.generations] == [3, 0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "model 'nothing' not found"),
        ("a/b/c/d/e", "model name"),
        ("x:cloud", "cloud"),
    ],
)
async def test_unknown_draft_model_is_named_before_anything_is_loaded(
    api: httpx.AsyncClient, scheduler: FakeScheduler, name: str, reason: str
) -> None:
    response = await ask(api, draft_model=name)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.startswith('option "draft_model": ')
    assert reason in error
    assert not scheduler.leases


async def test_draft_model_of_the_wrong_type_is_refused(api: httpx.AsyncClient) -> None:
    error = (await ask(api, draft_model=7)).json()["error"]
    assert error == 'option "draft_model" must be of type string'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"num_draft": 5}, 5),
        ({"draft_num_predict": 4}, 4),
        ({"draft_num_predict": 4, "num_draft": 6}, 6),
        ({"num_draft": -1}, 0),
    ],
)
async def test_num_draft_reaches_the_runner(
    api: httpx.AsyncClient, runner: FakeRunner, options: dict[str, Any], expected: int | None
) -> None:
    await ask(api, **options)
    generation: Generation = runner.generations[0]
    assert generation.num_draft == expected


async def test_answer_tells_what_was_guessed(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    runner.script = [finish(proposed_tokens=12, accepted_tokens=9)]
    facts = (await ask(api)).json()["cama"]
    assert (facts["proposed_count"], facts["accepted_count"]) == (12, 9)
