import re
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.core.model import ModelSpec
from cama.gguf import GGMLType, TensorSource, write_gguf
from cama.gguf.values import F32, U32
from cama.modelfile.create import create_from_recipe, create_model
from cama.modelfile.parser import parse_modelfile
from cama.modelfile.recipe import Recipe
from cama.store.bundled import FOLDER
from cama.store.store import Store
from tests.api.conftest import CHAT_TEMPLATE, Create, write
from tests.api.fakes import FakeLoaded, FakeScheduler, runner_info


def spec_of(store: Store, name: str) -> ModelSpec:
    model = store.get(name)
    return ModelSpec(
        name=model.name, path=model.path, digest=model.digest, weights_bytes=model.size
    )


async def show(api: httpx.AsyncClient, model: str, **fields: Any) -> dict[str, Any]:
    response = await api.post("/api/show", json={"model": model, **fields})
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


async def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


async def delete(api: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    return await api.request("DELETE", "/api/delete", json=body)


# tags


async def test_tags_lists_models(api: httpx.AsyncClient, store: Store) -> None:
    models = (await api.get("/api/tags")).json()["models"]
    one = next(model for model in models if model["name"] == "chatty:latest")
    assert list(one) == [
        "name", "model", "modified_at", "size", "digest", "details", "capabilities",
    ]  # fmt: skip
    assert one["capabilities"] == ["completion"]
    assert one["model"] == "chatty:latest"
    assert re.fullmatch(r"[0-9a-f]{64}", one["digest"])
    assert one["size"] == store.get("chatty").size
    assert datetime.fromisoformat(one["modified_at"]).tzinfo is not None


async def test_tags_describes_models(api: httpx.AsyncClient) -> None:
    models = (await api.get("/api/tags")).json()["models"]
    details = models[0]["details"]
    assert list(details) == [
        "parent_model", "format", "family", "families", "parameter_size", "quantization_level",
    ]  # fmt: skip
    assert (details["format"], details["family"]) == ("gguf", "llama")


async def test_tags_tells_lengths_of_the_bundled_model(
    api: httpx.AsyncClient, store: Store
) -> None:
    store.bundled = FOLDER
    models = (await api.get("/api/tags")).json()["models"]
    details = next(model for model in models if model["name"] == "guide:latest")["details"]
    assert (details["context_length"], details["embedding_length"]) == (2048, 512)


async def test_tags_lists_a_model_whose_file_is_damaged(
    api: httpx.AsyncClient, store: Store
) -> None:
    store.get("chatty").path.write_bytes(b"nonsense")
    models = (await api.get("/api/tags")).json()["models"]
    one = next(model for model in models if model["name"] == "chatty:latest")
    assert "capabilities" not in one
    assert "context_length" not in one["details"]


async def test_tags_of_an_empty_store_is_an_empty_list(
    api: httpx.AsyncClient, store: Store
) -> None:
    for model in store.list():
        store.delete(model.name)
    assert (await api.get("/api/tags")).json() == {"models": []}


# ps


async def test_ps_without_runners_is_an_empty_list(api: httpx.AsyncClient) -> None:
    assert (await api.get("/api/ps")).json() == {"models": []}


async def test_ps_shows_what_is_loaded(
    api: httpx.AsyncClient, store: Store, scheduler: FakeScheduler
) -> None:
    scheduler.rows = [FakeLoaded(spec_of(store, "chatty"), runner_info(n_ctx=512), 300.0)]
    (one,) = (await api.get("/api/ps")).json()["models"]
    assert one["name"] == one["model"] == "chatty:latest"
    assert (one["size"], one["size_vram"], one["context_length"]) == (123456, 0, 512)
    assert (one["engine"], one["engine_reason"]) == ("fake", "a test asked for it")
    assert one["details"]["family"] == "llama"


async def test_ps_puts_the_longest_lived_first(
    api: httpx.AsyncClient, store: Store, scheduler: FakeScheduler
) -> None:
    scheduler.rows = [
        FakeLoaded(spec_of(store, "chatty"), runner_info(), 300.0),
        FakeLoaded(spec_of(store, "base"), None, float("inf")),
    ]
    first, second = (await api.get("/api/ps")).json()["models"]
    assert (first["name"], second["name"]) == ("base:latest", "chatty:latest")
    assert datetime.fromisoformat(first["expires_at"]).year > 2300


async def test_ps_shows_a_model_that_is_loading(
    api: httpx.AsyncClient, store: Store, scheduler: FakeScheduler
) -> None:
    scheduler.rows = [FakeLoaded(spec_of(store, "base"), None, 300.0)]
    (one,) = (await api.get("/api/ps")).json()["models"]
    assert one["context_length"] == 0
    assert "engine" not in one


async def test_ps_shows_a_model_that_was_deleted_meanwhile(
    api: httpx.AsyncClient, store: Store, scheduler: FakeScheduler
) -> None:
    scheduler.rows = [FakeLoaded(spec_of(store, "base"), runner_info(), 300.0)]
    store.delete("base")
    (one,) = (await api.get("/api/ps")).json()["models"]
    assert (one["name"], one["details"]) == ("base:latest", {})


# show


async def test_show_gives_the_facts_of_the_file(api: httpx.AsyncClient) -> None:
    answer = await show(api, "chatty")
    info = answer["model_info"]
    assert info["general.architecture"] == "llama"
    assert info["general.parameter_count"] == 0
    assert "general.name" not in info
    assert "tokenizer.chat_template" not in info
    assert answer["template"] == CHAT_TEMPLATE


async def test_show_tells_copilot_the_name_that_it_asked_for(api: httpx.AsyncClient) -> None:
    agent = {"user-agent": "GitHubCopilotChat/0.30"}
    shown = await api.post("/api/show", json={"model": "chatty"}, headers=agent)
    assert shown.json()["model_info"]["general.basename"] == "chatty"
    others = await api.post("/api/show", json={"model": "chatty"})
    assert "general.basename" not in others.json()["model_info"]


async def test_show_gives_arrays_only_when_asked(api: httpx.AsyncClient) -> None:
    assert (await show(api, "chatty"))["model_info"]["tokenizer.tokens"] is None
    verbose = await show(api, "chatty", verbose=True)
    assert verbose["model_info"]["tokenizer.tokens"] == ["a", "b", "c"]


async def test_show_gives_what_the_modelfile_said(api: httpx.AsyncClient, create: Create) -> None:
    create(
        "full",
        'SYSTEM Be kind.\nPARAMETER temperature 0.5\nPARAMETER stop "a"\nPARAMETER stop "b"\n'
        "MESSAGE user Hi\nLICENSE free",
    )
    answer = await show(api, "full")
    assert answer["system"] == "Be kind."
    assert answer["license"] == "free"
    assert answer["messages"] == [{"role": "user", "content": "Hi"}]
    assert sorted(answer["parameters"].splitlines()) == [
        f'{"stop":<30} "a"',
        f'{"stop":<30} "b"',
        f"{'temperature':<30} 0.5",
    ]
    assert "SYSTEM Be kind." in answer["modelfile"]
    assert "# FROM full:latest\n" in answer["modelfile"]


async def test_show_leaves_out_what_a_model_lacks(api: httpx.AsyncClient) -> None:
    answer = await show(api, "base")
    assert list(answer) == ["modelfile", "details", "model_info", "capabilities", "modified_at"]


async def test_show_describes_the_projector(api: httpx.AsyncClient, store: Store) -> None:
    folder = store.root.parent
    eyes: dict[str, Any] = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.vision.x": U32(3),
    }
    tensor = TensorSource("v.patch_embd.weight", GGMLType.F32, (8, 4), bytes(128))
    write_gguf(folder / "eyes.gguf", eyes, [tensor])
    modelfile = parse_modelfile("FROM ./base.gguf\nFROM ./eyes.gguf\nREQUIRES 0.14.0\n")
    create_model(store, "seeing", modelfile, folder, lambda text: None)
    answer = await show(api, "seeing")
    assert answer["projector_info"] == {
        "clip.vision.x": 3,
        "general.architecture": "clip",
        "general.parameter_count": 32,
        "general.type": "mmproj",
    }
    assert answer["capabilities"] == ["completion", "vision"]
    assert answer["requires"] == "0.14.0"


async def test_show_tells_where_a_model_is_from(api: httpx.AsyncClient, store: Store) -> None:
    origin = {"repository": "u/m", "commit": "c0ffee", "files": ["m.gguf", 7], "reason": 3}
    recipe = Recipe(models=("base",), info={"cama": origin})
    create_from_recipe(store, "pulled", recipe, lambda text: None)
    assert (await show(api, "pulled"))["cama"] == {
        "repository": "u/m",
        "commit": "c0ffee",
        "files": ["m.gguf"],
    }


async def test_show_overlays_system_and_options(api: httpx.AsyncClient, create: Create) -> None:
    create("full", "SYSTEM Be kind.\nPARAMETER temperature 0.5")
    answer = await show(api, "full", system="Be brief.", options={"temperature": 1, "top_k": 3})
    assert answer["system"] == "Be brief."
    assert answer["parameters"] == f"{'temperature':<30} 1\n{'top_k':<30} 3"


@pytest.mark.parametrize(
    ("model", "capability"), [("chatty", "completion"), ("embedder", "embedding")]
)
async def test_show_tells_what_a_model_can_do(
    api: httpx.AsyncClient, model: str, capability: str
) -> None:
    assert (await show(api, model))["capabilities"] == [capability]


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{{ .Prompt }}", ["completion"]),
        ("{{ .Suffix }}{{ .Prompt }}", ["completion", "insert"]),
        ("{{ .Tools }}{{ .Messages }}", ["completion", "tools"]),
        (
            "{{ range .Messages }}{{ if .Thinking }}<hm>{{ .Thinking }}</hm>{{ end }}{{ end }}",
            ["completion", "thinking"],
        ),
        ("{{ range .Messages }}{{ .Thinking }}{{ end }}", ["completion"]),
    ],
)
async def test_show_tells_what_a_template_has_a_place_for(
    api: httpx.AsyncClient, create: Create, template: str, names: list[str]
) -> None:
    create("able", f"TEMPLATE {template}", base="base")
    answer = await show(api, "able")
    assert answer["capabilities"] == names
    assert answer["template"] == template


async def test_show_accepts_the_old_key(api: httpx.AsyncClient) -> None:
    assert (await api.post("/api/show", json={"name": "chatty"})).status_code == 200


async def test_show_accepts_the_path_of_a_file(api: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = await show(api, str(tmp_path / "base.gguf"))
    assert answer["details"]["format"] == "gguf"


async def test_show_gives_null_for_a_number_that_json_lacks(
    api: httpx.AsyncClient, store: Store, tmp_path: Path
) -> None:
    write(store, tmp_path, "odd", {"odd.number": F32(float("nan"))})
    assert (await show(api, "odd"))["model_info"]["odd.number"] is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", (400, "model is required")),
        ("a/b/c/d", (400, "invalid model name")),
        ("Nobody", (404, "model 'Nobody:latest' not found")),
        ("big-cloud", (404, "model 'big-cloud:latest' not found")),
        (
            "big:cloud",
            (403, "ollama cloud is disabled: remote model details are unavailable"),
        ),
        ("/nowhere/x.gguf", (404, "model '/nowhere/x.gguf' not found")),
    ],
)
async def test_show_words_name_errors_its_own_way(
    api: httpx.AsyncClient, name: str, expected: tuple[int, str]
) -> None:
    assert await error_of(await api.post("/api/show", json={"model": name})) == expected


async def test_show_refuses_a_file_that_is_no_model(api: httpx.AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"not a model")
    status, error = await error_of(await api.post("/api/show", json={"model": str(path)}))
    assert status == 400
    assert "bad.gguf" in error


# copy


async def test_copy_gives_a_second_name(api: httpx.AsyncClient, store: Store) -> None:
    response = await api.post("/api/copy", json={"source": "chatty", "destination": "twin:v2"})
    assert (response.status_code, response.content) == (200, b"")
    assert store.get("twin:v2").digest == store.get("chatty").digest


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("", "b", (400, 'source "" is invalid')),
        ("a", "", (400, 'destination "" is invalid')),
        ("a", "b/c/d/e", (400, 'destination "b/c/d/e" is invalid')),
        ("nobody", "b", (404, 'model "nobody" not found')),
    ],
)
async def test_copy_words_name_errors_its_own_way(
    api: httpx.AsyncClient, source: str, destination: str, expected: tuple[int, str]
) -> None:
    body = {"source": source, "destination": destination}
    assert await error_of(await api.post("/api/copy", json=body)) == expected


# delete


async def test_delete_removes_a_model(api: httpx.AsyncClient, store: Store) -> None:
    response = await delete(api, {"model": "chatty"})
    assert (response.status_code, response.content) == (200, b"")
    assert "chatty:latest" not in [model.name for model in store.list()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", (400, "model is required")),
        ("a/b/c/d", (400, 'name "a/b/c/d" is invalid')),
        ("nobody", (404, "model 'nobody' not found")),
    ],
)
async def test_delete_words_name_errors_its_own_way(
    api: httpx.AsyncClient, name: str, expected: tuple[int, str]
) -> None:
    assert await error_of(await delete(api, {"model": name})) == expected


async def test_delete_leaves_files_alone(api: httpx.AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    response = await delete(api, {"model": str(path)})
    assert response.status_code == 400
    assert path.exists()
