"""What models say they can do, and what is refused because they cannot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.gguf import write_gguf
from cama.gguf.values import U32
from cama.store.models import StoredModel
from cama.store.store import Store
from tests.api.conftest import Create, write
from tests.api.fakes import FakeRunner

TOOL = {"type": "function", "function": {"name": "f", "description": "d"}}
USER = {"role": "user", "content": "Hi"}
MUSING = "{{ range .Messages }}{{ if .Thinking }}<hm>{{ .Thinking }}</hm>{{ end }}{{ end }}"
BLOCK = {"llama.block_count": U32(1)}


async def capabilities(api: httpx.AsyncClient, model: str) -> list[str]:
    shown = (await api.post("/api/show", json={"model": model})).json()
    found: list[str] = shown["capabilities"]
    return found


@pytest.mark.parametrize(
    ("metadata", "commands", "expected"),
    [
        ({}, "", []),
        ({"llama.pooling_type": U32(1)}, "", None),
        ({"llama.vision.block_count": U32(1)}, "", ["vision"]),
        ({"llama.audio.block_count": U32(1)}, "", ["audio"]),
        ({}, "TEMPLATE {{ .Tools }}{{ .Prompt }}", ["tools"]),
        ({}, "TEMPLATE {{ .Prompt }}{{ .Suffix }}", ["insert"]),
        ({}, f"TEMPLATE {MUSING}", ["thinking"]),
        ({}, "TEMPLATE {{ .Prompt }}\nPARSER glm-4.7", ["tools", "thinking"]),
        ({}, "TEMPLATE {{ .Prompt }}\nPARSER passthrough", []),
        ({}, "RENDERER gemma4", ["tools", "thinking"]),
        ({"tokenizer.chat_template": "{{ tools }}<tool_call>"}, "", ["tools"]),
        ({"tokenizer.chat_template": "<think></think>{{ messages }}"}, "", ["thinking"]),
    ],
)
async def test_capabilities_follow_from_files_and_templates(
    api: httpx.AsyncClient,
    store: Store,
    tmp_path: Path,
    create: Create,
    metadata: dict[str, Any],
    commands: str,
    expected: list[str] | None,
) -> None:
    write(store, tmp_path, "own", BLOCK | metadata)
    create("able", commands, base="own")
    wanted = ["embedding"] if expected is None else ["completion", *expected]
    assert await capabilities(api, "able") == wanted


async def test_a_projector_may_hear(api: httpx.AsyncClient, create: Create, tmp_path: Path) -> None:
    path = tmp_path / "mmproj.gguf"
    kind = {"general.architecture": "clip", "general.type": "mmproj"}
    write_gguf(path, kind | {"clip.has_audio_encoder": True}, [])
    create("both", f"FROM {path}")
    assert await capabilities(api, "both") == ["completion", "vision", "audio"]


async def test_a_model_without_its_projector_is_listed_all_the_same(
    api: httpx.AsyncClient, create: Create, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "mmproj.gguf"
    write_gguf(path, {"general.architecture": "clip", "general.type": "mmproj"}, [])
    create("both", f"FROM {path}")
    store.get("both").projectors[0].unlink()
    models = (await api.get("/api/tags")).json()["models"]
    assert "both:latest" in [model["name"] for model in models]


async def test_a_model_that_makes_images_does_not_answer(
    api: httpx.AsyncClient, store: Store
) -> None:
    body = {"model": "painter", "from": "chatty", "info": {"capabilities": ["image"]}}
    assert (await api.post("/api/create", json=body | {"stream": False})).status_code == 200
    asked = await api.post("/api/generate", json={"model": "painter", "prompt": "A cat"})
    assert asked.status_code == 400
    assert asked.json()["error"] == "image generation models are not currently supported"


@pytest.mark.parametrize(
    ("think", "level"), [(None, "medium"), (True, "medium"), ("max", "max"), (False, "")]
)
async def test_a_template_is_told_how_hard_to_think(
    api: httpx.AsyncClient, create: Create, runner: FakeRunner, think: Any, level: str
) -> None:
    create("muser", f"TEMPLATE {MUSING}({{{{ .ThinkLevel }}}})")
    body = {"model": "muser", "messages": [USER], "think": think, "stream": False}
    assert (await api.post("/api/chat", json=body)).status_code == 200
    assert str(runner.generations[0].prompt).endswith(f"({level})")


async def test_gpt_oss_speaks_harmony_whatever_else_its_template_says(
    api: httpx.AsyncClient, store: Store, tmp_path: Path, create: Create
) -> None:
    path = tmp_path / "oss.gguf"
    write_gguf(path, {"general.architecture": "gpt-oss"}, [])
    create("oss", "TEMPLATE <|start|>user{{ .Prompt }}<|end|><|start|>assistant", base=str(path))
    assert await capabilities(api, "oss") == ["completion", "tools", "thinking"]


def with_config(store: Store, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Every model's configuration lists ``names``, as Ollama's `info` does for some."""
    get = store.get

    def listed(name: str) -> StoredModel:
        model = get(name)
        return replace(model, config={**model.config, "capabilities": list(names)})

    monkeypatch.setattr(store, "get", listed)


async def test_capabilities_that_a_configuration_lists_count(
    api: httpx.AsyncClient, store: Store, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_config(store, monkeypatch, "tools", "vision", "thinking")
    assert await capabilities(api, "chatty") == ["completion", "vision", "tools", "thinking"]
    body = {"model": "chatty", "messages": [USER], "tools": [TOOL], "think": True, "stream": False}
    assert (await api.post("/api/chat", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        ("/api/chat", {"messages": [USER], "tools": [TOOL]}, "does not support tools"),
        ("/api/chat", {"messages": [USER], "think": "low"}, '"chatty" does not support thinking'),
        ("/api/generate", {"prompt": "a", "suffix": "b"}, "does not support insert"),
        ("/api/generate", {"prompt": "a", "images": ["aGk="]}, "does not support vision"),
    ],
)
async def test_what_a_model_cannot_do_is_refused(
    api: httpx.AsyncClient, path: str, fields: dict[str, Any], text: str
) -> None:
    response = await api.post(path, json={"model": "chatty", **fields})
    assert response.status_code == 400
    assert response.json()["error"].endswith(text)


async def test_a_model_that_should_be_renewed_says_so(
    api: httpx.AsyncClient, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "old.gguf"
    write_gguf(path, {"general.architecture": "qwen3"}, [])
    body = {"model": str(path), "messages": [USER], "think": True}
    response = await api.post("/api/chat", json=body)
    assert response.json()["error"].endswith(
        "does not support thinking. Pull the model again to get the latest version with full "
        "thinking support"
    )
