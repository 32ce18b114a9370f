"""The adapters of a request: its model's own, or those of the models that it names."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.core.generation import Adapter
from cama.gguf import F32, GGMLType, TensorSource, write_gguf
from cama.store.store import Store
from tests.api.conftest import Create, write
from tests.api.fakes import FakeRunner, FakeScheduler


def write_lora(
    path: Path, *, seed: int = 0, architecture: str = "llama", weight: str = "a"
) -> Path:
    """The facts of an adapter; nothing here looks at its numbers."""
    facts: dict[str, Any] = {
        "general.type": "adapter",
        "general.architecture": architecture,
        "adapter.type": "lora",
        "adapter.lora.alpha": F32(16.0),
    }
    tensors = [
        TensorSource(f"{weight}.weight.lora_a", GGMLType.F32, (32, 8), bytes([seed]) * 1024),
        TensorSource(f"{weight}.weight.lora_b", GGMLType.F32, (8, 16), bytes(512)),
    ]
    write_gguf(path, facts, tensors)
    return path


@pytest.fixture
def names(store: Store, create: Create, tmp_path: Path) -> dict[str, Adapter]:
    """Models with an adapter each, by name, and ``both`` with two; ``foreign`` fits no llama."""
    for seed, name in enumerate(("poet", "judge"), 1):
        write_lora(tmp_path / f"{name}.gguf", seed=seed)
        create(name, f"ADAPTER {name}.gguf")
    create("both", "ADAPTER judge.gguf", base="poet")
    return {name: store.get(name).adapters[0] for name in ("poet", "judge")}


async def ask(api: httpx.AsyncClient, path: str = "generate", **body: Any) -> httpx.Response:
    prompt = {"messages": [{"role": "user", "content": "Hi"}]} if path == "chat" else {}
    asked = {"model": "chatty", "prompt": "Hi", "input": "Hi", "stream": False, **prompt, **body}
    return await api.post(f"/api/{path}", json=asked)


async def adapters_of(
    api: httpx.AsyncClient, runner: FakeRunner, path: str = "generate", **body: Any
) -> dict[str, float]:
    """Digests and scales of what the runner was asked for."""
    response = await ask(api, path, **body)
    assert response.status_code == 200, response.text
    return {one.digest: one.scale for one in runner.generations[-1].adapters}


@pytest.mark.parametrize("path", ["generate", "chat"])
async def test_model_runs_with_its_adapter(
    api: httpx.AsyncClient, runner: FakeRunner, names: dict[str, Adapter], path: str
) -> None:
    poet = names["poet"]
    assert await adapters_of(api, runner, path, model="poet") == {poet.digest: 1.0}
    assert runner.generations[-1].adapters[0].path == poet.path
    assert await adapters_of(api, runner, path) == {}


async def test_models_of_one_base_share_its_runner(
    api: httpx.AsyncClient,
    scheduler: FakeScheduler,
    store: Store,
    names: dict[str, Adapter],
) -> None:
    for name in ("chatty", "poet", "judge"):
        await ask(api, model=name)
    assert {spec.key for spec, _ in scheduler.leases} == {str(store.get("chatty").path)}


async def test_inherited_adapter_is_kept_beside_a_new_one(
    api: httpx.AsyncClient, runner: FakeRunner, names: dict[str, Adapter]
) -> None:
    expected = {names["poet"].digest: 1.0, names["judge"].digest: 1.0}
    assert await adapters_of(api, runner, model="both") == expected


@pytest.mark.parametrize("path", ["generate", "chat"])
async def test_request_names_adapters_instead(
    api: httpx.AsyncClient, runner: FakeRunner, names: dict[str, Adapter], path: str
) -> None:
    poet, judge = names["poet"].digest, names["judge"].digest
    assert await adapters_of(api, runner, path, adapters=["judge"]) == {judge: 1.0}
    assert await adapters_of(api, runner, path, model="poet", adapters=[]) == {}
    mixed = [{"name": "poet", "scale": 0.5}, {"name": "judge"}]
    assert await adapters_of(api, runner, path, model="judge", adapters=mixed) == {
        poet: 0.5,
        judge: 1.0,
    }


async def test_scales_of_the_same_adapter_add_up(
    api: httpx.AsyncClient, runner: FakeRunner, names: dict[str, Adapter]
) -> None:
    poet, judge = names["poet"].digest, names["judge"].digest
    twice: list[Any] = ["both", {"name": "poet", "scale": -0.25}]
    assert await adapters_of(api, runner, adapters=twice) == {poet: 0.75, judge: 1.0}
    none = ["both", {"name": "poet", "scale": -1}]
    assert await adapters_of(api, runner, adapters=none) == {judge: 1.0}


async def test_order_does_not_matter_to_the_prefix_cache(
    api: httpx.AsyncClient, runner: FakeRunner, names: dict[str, Adapter]
) -> None:
    for adapters in (["poet", "judge"], ["judge", "poet"], ["both"]):
        await adapters_of(api, runner, adapters=adapters)
    await adapters_of(api, runner, adapters=["poet", {"name": "judge", "scale": 0.5}])
    keys = [generation.adapter for generation in runner.generations]
    assert keys[0] == keys[1] == keys[2] != keys[3]


@pytest.mark.parametrize(
    ("adapters", "status", "error"),
    [
        (["nobody"], 404, "model 'nobody' not found"),
        (["chatty"], 400, "model 'chatty' has no adapter"),
        (["/etc/passwd"], 400, "invalid model name"),
        (["./poet.gguf"], 400, "invalid model name"),
        (["../poet.gguf"], 400, "invalid model name"),
        ("poet", 400, "adapters must be an array of model names or of name and scale"),
        ([1], 400, "an adapter must be a model name, or an object of name and scale"),
        ([None], 400, "an adapter must be a model name, or an object of name and scale"),
        ([{"scale": 1}], 400, "an adapter must be a model name, or an object of name and scale"),
        ([{"name": "poet", "path": "x"}], 400,
         "an adapter must be a model name, or an object of name and scale"),
        ([" "], 400, "an adapter must have the name of a model"),
        ([{"name": "poet", "scale": "1"}], 400,
         "the scale of an adapter must be a number from -100 to 100"),
        ([{"name": "poet", "scale": True}], 400,
         "the scale of an adapter must be a number from -100 to 100"),
        ([{"name": "poet", "scale": 1e300}], 400,
         "the scale of an adapter must be a number from -100 to 100"),
        (["poet"] * 9, 400, "adapters must be at most 8"),
    ],
)  # fmt: skip
async def test_what_is_no_adapter_is_refused(
    api: httpx.AsyncClient,
    runner: FakeRunner,
    names: dict[str, Adapter],
    adapters: Any,
    status: int,
    error: str,
) -> None:
    response = await ask(api, adapters=adapters)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert runner.generations == []


async def test_adapter_of_another_architecture_is_refused(
    api: httpx.AsyncClient, store: Store, create: Create, tmp_path: Path
) -> None:
    write(store, tmp_path, "qwen", {"general.architecture": "qwen2"})
    write_lora(tmp_path / "sage.gguf", architecture="qwen2")
    create("sage", "ADAPTER sage.gguf", base="qwen")
    response = await ask(api, adapters=["sage"])
    error = "the adapter of sage is for qwen2, but chatty:latest is llama"
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert (await ask(api, model="sage", raw=True)).status_code == 200


@pytest.mark.parametrize("path", ["embed", "embeddings"])
async def test_embeddings_are_computed_without_adapters_only(
    api: httpx.AsyncClient, runner: FakeRunner, names: dict[str, Adapter], path: str
) -> None:
    bodies: list[dict[str, Any]] = [{"model": "poet"}, {"adapters": ["poet"]}]
    for body in bodies:
        response = await ask(api, path, **body)
        error = "embeddings and scores are computed without adapters only"
        assert (response.status_code, response.json()["error"]) == (400, error)
    assert (await ask(api, path, model="poet", adapters=[])).status_code == 200
    assert len(runner.embeddings) == 1


async def test_show_tells_of_adapters(api: httpx.AsyncClient, names: dict[str, Adapter]) -> None:
    shown = (await api.post("/api/show", json={"model": "both"})).json()
    assert [(one["digest"], one["rank"], one["alpha"]) for one in shown["adapters"]] == [
        (names["poet"].digest, 8, 16.0),
        (names["judge"].digest, 8, 16.0),
    ]
    assert shown["adapters"][0]["parameter_count"] == 32 * 8 + 8 * 16
    assert f"ADAPTER {names['poet'].path}" in shown["modelfile"]
    assert "adapters" not in (await api.post("/api/show", json={"model": "chatty"})).json()


async def test_adapters_of_experts_need_a_runner_that_takes_them(
    api: httpx.AsyncClient,
    scheduler: FakeScheduler,
    names: dict[str, Adapter],
    create: Create,
    tmp_path: Path,
) -> None:
    write_lora(tmp_path / "experts.gguf", weight="blk.0.ffn_up_exps")
    create("experts", "ADAPTER experts.gguf")
    for name, expected in (("poet", False), ("experts", True)):
        assert (await ask(api, model=name)).status_code == 200
        assert scheduler.leases[-1][0].load.adapts_experts is expected
