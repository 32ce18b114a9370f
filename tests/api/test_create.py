"""Blobs, and models made of them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import cama.api.routes.create
from cama.api.app import create_app
from cama.api.routes.create import Desk, _events
from cama.api.services import Services
from cama.core.settings import Settings
from cama.gguf import GGUFFile, write_gguf
from cama.modelfile.create import create_from_recipe
from cama.modelfile.recipe import Recipe
from cama.registry.progress import Progress
from cama.store.names import ModelName
from cama.store.store import Store
from tests.api.conftest import lines
from tests.api.fakes import FakeScheduler

MakeModel = Callable[..., Path]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def upload(api: httpx.AsyncClient, data: bytes) -> str:
    digest = digest_of(data)
    response = await api.post(f"/api/blobs/{digest}", content=data)
    assert response.status_code in (200, 201)
    return digest


def gguf(tmp_path: Path, **metadata: Any) -> bytes:
    path = tmp_path / "made.gguf"
    base: dict[str, Any] = {"general.architecture": "llama", "llama.block_count": 1}
    write_gguf(path, base | metadata, [])
    return path.read_bytes()


def files_of(store: Store) -> set[str]:
    return {path.name for path in store.blobs.folder.iterdir()}


async def test_a_blob_is_there_after_it_was_sent(api: httpx.AsyncClient, store: Store) -> None:
    data = b"x" * 10_000_000
    path = f"/api/blobs/{digest_of(data)}"
    assert (await api.head(path)).status_code == 404
    created = await api.post(path, content=data)
    assert (created.status_code, created.content) == (201, b"")
    assert (await api.head(path)).status_code == 200
    assert (await api.post(path, content=b"not read")).status_code == 200
    assert store.blobs.path(digest_of(data)).read_bytes() == data


async def test_a_blob_of_another_content_is_refused_and_leaves_nothing(
    api: httpx.AsyncClient, store: Store
) -> None:
    before = files_of(store)
    expected, got = digest_of(b"this"), digest_of(b"that")
    response = await api.post(f"/api/blobs/{expected}", content=b"that")
    assert response.status_code == 400
    assert response.json() == {"error": f'digest mismatch, expected "{expected}", got "{got}"'}
    assert files_of(store) == before


@pytest.mark.parametrize("digest", ["sha256:00", "md5:" + "0" * 64, "sha256:" + "g" * 64])
async def test_a_bad_digest_is_refused(api: httpx.AsyncClient, digest: str) -> None:
    assert (await api.head(f"/api/blobs/{digest}")).status_code == 400
    response = await api.post(f"/api/blobs/{digest}", content=b"x")
    assert (response.status_code, response.json()) == (400, {"error": "invalid digest format"})


async def test_a_blob_that_does_not_fit_the_disk_is_refused_unread(api: httpx.AsyncClient) -> None:
    async def endless() -> Any:
        while True:
            yield b"x" * 65536

    response = await api.post(
        f"/api/blobs/{digest_of(b'')}", content=endless(), headers={"content-length": str(1 << 60)}
    )
    assert response.status_code == 413


async def test_create_makes_a_model_of_files(
    api: httpx.AsyncClient, store: Store, tmp_path: Path
) -> None:
    digest = await upload(api, gguf(tmp_path))
    body = {
        "model": "made",
        "files": {"model.gguf": digest},
        "template": "{{ .Prompt }}",
        "system": "Be short.",
        "license": ["MIT", "more"],
        "parameters": {"temperature": 0.5, "stop": ["x"]},
        "messages": [{"role": "user", "content": "hi"}],
        "renderer": "qwen3-coder",
        "parser": "qwen3-coder",
        "requires": "0.14.0",
        "info": {"context_length": 77, "parameter_size": "9B"},
    }
    response = await api.post("/api/create", json=body)
    statuses = [line["status"] for line in lines(response)]
    assert response.headers["content-type"] == "application/x-ndjson"
    assert statuses[0] == "parsing GGUF"
    assert statuses[1] == f"using existing layer {digest}"
    assert statuses[-2:] == ["writing manifest", "success"]
    made = store.get("made")
    assert made.path == store.blobs.path(digest)
    assert (made.template, made.system) == ("{{ .Prompt }}", "Be short.")
    assert made.licenses == ("MIT", "more")
    assert made.params == {"temperature": 0.5, "stop": ["x"]}
    assert made.messages == [{"role": "user", "content": "hi"}]
    wanted = {"renderer": "qwen3-coder", "requires": "0.14.0", "context_length": 77}
    assert made.config.items() >= wanted.items()
    assert made.parameter_size == "9B"


async def test_create_from_a_model_keeps_what_is_not_given(
    api: httpx.AsyncClient, store: Store
) -> None:
    body = {"model": "new", "from": "chatty", "system": "Hm.", "parameters": {"top_k": 3}}
    response = await api.post("/api/create", json=body | {"stream": False})
    assert (response.status_code, response.json()) == (200, {"status": "success"})
    old, new = store.get("chatty"), store.get("new")
    assert (new.path, new.template, new.parent) == (old.path, old.template, "chatty:latest")
    assert (new.system, new.params) == ("Hm.", old.params | {"top_k": 3})


@pytest.mark.native
async def test_create_quantizes(
    api: httpx.AsyncClient, store: Store, tiny_model: MakeModel
) -> None:
    digest = await upload(api, tiny_model("llama", "F16").read_bytes())
    body = {"model": "small", "files": {"m.gguf": digest}, "quantize": "q4_K_M"}
    events = lines(await api.post("/api/create", json=body))
    bars = [event for event in events if "total" in event]
    assert {bar["status"] for bar in bars} == {"quantizing F16 model to Q4_K_M"}
    assert {"status": "verifying conversion"} in events
    assert events[-1] == {"status": "success"}
    with GGUFFile.open(store.get("small").path) as file:
        assert file.file_type_name == "Q4_K_M"
    assert store.get("small").quantization == "Q4_K_M"
    again = lines(
        await api.post("/api/create", json={"model": "b", "from": "small", "quantize": "q8_0"})
    )
    assert again[-1] == {"error": "quantization is only supported for F16, BF16 and F32 models"}
    assert not [name for name in files_of(store) if "tmp" in name]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "invalid model name"),
        ({"model": "a b", "from": "base"}, 400, "invalid model name"),
        ({"model": "m"}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "m", "from": "a b"}, 400, "invalid model name"),
        ({"model": "m", "from": "/etc/passwd"}, 400, "invalid model name"),
        ({"model": "m", "from": "nobody"}, 404, "model 'nobody' not found"),
        ({"model": "m", "files": {"../x.gguf": "sha256:00"}}, 400, "file path must be relative"),
        ({"model": "m", "files": {"/x.gguf": "sha256:00"}}, 400, "file path must be relative"),
        ({"model": "m", "files": {"a//x.gguf": "sha256:00"}}, 400, "file path must be relative"),
        ({"model": "m", "files": {"x.gguf": ""}}, 400, "invalid digest format"),
        ({"model": "m", "files": {"x.gguf": "../../etc"}}, 400, "invalid digest format"),
        (
            {"model": "m", "files": {"x.gguf": "sha256:" + "0" * 64}},
            400,
            f"open sha256:{'0' * 64}: no such file or directory",
        ),
        ({"model": "m", "from": "base", "template": "{{ if }}"}, 400, "template error"),
        ({"model": "m", "from": "base", "requires": "new"}, 400, "must be a valid semver"),
        ({"model": "m", "from": "base", "quantize": "q9"}, 400, "unsupported quantization type Q9"),
        (
            {"model": "m", "from": "base", "draft_quantize": "q8_0"},
            400,
            "--draft-quantize requires a DRAFT model",
        ),
        ({"model": "m", "from": "base", "info": {"base_name": 1}}, 400, "must be a string"),
        ({"model": "m", "from": "base", "info": {"context_length": "1"}}, 400, "must be a number"),
        ({"model": "m", "from": "base", "info": {"context_length": -1}}, 400, "non-negative"),
        ({"model": "m", "from": "x", "remote_host": "https://a.b"}, 400, "not supported"),
        ({"model": "m", "from": "base", "license": 3}, 400, "license must be"),
    ],
)
async def test_create_refuses(
    api: httpx.AsyncClient, store: Store, body: dict[str, Any], status: int, text: str
) -> None:
    before = files_of(store)
    response = await api.post("/api/create", json=body | {"stream": False})
    assert response.status_code == status
    assert text in response.json()["error"]
    assert files_of(store) == before


async def test_a_file_of_no_known_kind_is_refused(api: httpx.AsyncClient) -> None:
    digest = await upload(api, b"a poem")
    body = {"model": "m", "files": {"model.txt": digest}, "stream": False}
    response = await api.post("/api/create", json=body)
    assert (response.status_code, response.json()) == (400, {"error": "unknown type"})


async def test_a_second_adapter_is_refused(api: httpx.AsyncClient, tmp_path: Path) -> None:
    lora = gguf(tmp_path, **{"general.type": "adapter"})
    digests = [await upload(api, lora), await upload(api, lora + b"\0")]
    adapters = dict(zip(("a.gguf", "b.gguf"), digests, strict=True))
    body = {"model": "m", "from": "base", "adapters": adapters, "stream": False}
    response = await api.post("/api/create", json=body)
    assert (response.status_code, response.json()) == (
        400,
        {"error": "only one adapter is currently supported"},
    )


@pytest.mark.native
async def test_a_client_that_leaves_cancels_the_work(store: Store, tiny_model: MakeModel) -> None:
    before = files_of(store)
    recipe = Recipe(files=(tiny_model("llama", "F16"),), quantize="q4_k_m")

    def work(desk: Desk) -> None:
        create_from_recipe(store, "m", recipe, desk.status, desk.jobs)

    events = _events(work, 1)
    async for event in events:
        if "total" in event:
            break
    await events.aclose()
    assert files_of(store) == before
    assert json.dumps(sorted(model.name for model in store.list())).count("m:latest") == 0


async def test_a_base_that_is_not_here_is_pulled_first(
    settings: Settings, store: Store, scheduler: FakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_afar(has: Services, name: ModelName, report: Any, *rest: Any, **flags: Any) -> None:
        report(Progress("pulling manifest"))
        has.store.copy("base", name.short)

    monkeypatch.setattr(cama.api.routes.create, "pull_model", from_afar)
    app = create_app(replace(settings, offline=False), store, scheduler)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:11434") as client:
        events = lines(await client.post("/api/create", json={"model": "m", "from": "far/away"}))
    assert events[0] == {"status": "pulling manifest"}
    assert events[-1] == {"status": "success"}
    assert store.get("m").path == store.get("base").path
