"""Folders of safetensors files as models of the store: by Modelfile, and over HTTP."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from cama.api.app import create_app
from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.core.settings import Settings
from cama.gguf import GGUFFile
from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.store.store import Store
from tests.api.fakes import FakeRunner, FakeScheduler, hello, runner_info
from tests.convert import tokenizers_made
from tests.convert.checkpoints import Made, make
from tests.convert.test_adapters import adapter


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = make(tmp_path / "hf", "llama", n_shards=2)
    tokenizers_made.save(tokenizers_made.byte_level("llama-bpe"), made.folder)
    return made


@pytest.fixture
async def api(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    scheduler = FakeScheduler(FakeRunner(runner_info(), hello()))
    app = create_app(Settings(models=store.root), store, scheduler)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:11434") as client:
        yield client


def temporaries(store: Store) -> list[str]:
    folder = store.blobs.folder
    return [p.name for p in folder.iterdir() if "tmp" in p.name] if folder.exists() else []


def test_create_from_a_folder_with_an_adapter(store: Store, made: Made, tmp_path: Path) -> None:
    adapter(made, tmp_path / "lora")
    statuses: list[str] = []
    text = "FROM ./hf\nADAPTER ./lora\n"
    create_model(store, "m", parse_modelfile(text), tmp_path, statuses.append)
    assert statuses[:2] == ["converting model", "converting adapter"]
    model = store.get("m")
    assert (model.family, model.quantization) == ("llama", "F16")
    with GGUFFile.open(model.path) as file:
        assert file.get("general.name") == "hf"
    assert len(model.adapters) == 1
    for path in (model.path, model.adapters[0].path):
        assert path.name == f"sha256-{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert temporaries(store) == []


@pytest.mark.native
def test_create_from_a_folder_quantizes_the_originals_precision(
    store: Store, made: Made, tmp_path: Path
) -> None:
    modelfile = parse_modelfile("FROM ./hf\n")
    create_model(store, "m", modelfile, tmp_path, lambda _: None, quantize="q8_0")
    create_model(store, "exact", modelfile, tmp_path, lambda _: None, quantize="f32")
    with GGUFFile.open(store.get("m").path) as file:
        assert file.file_type_name == "Q8_0"
        blocks = np.frombuffer(bytes(file.data("blk.1.ffn_up.weight")), np.uint8).reshape(-1, 34)
    source = made.weights["model.layers.1.mlp.up_proj.weight"].reshape(-1, 32)
    scale = (np.abs(source).max(axis=1, keepdims=True) / 127).astype(np.float16)
    np.testing.assert_array_equal(blocks[:, :2].copy().view(np.float16), scale)
    with GGUFFile.open(store.get("exact").path) as file:
        assert bytes(file.data("blk.1.ffn_up.weight")) == source.tobytes()
    assert temporaries(store) == []


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("architectures", ["CamelForCausalLM"], UnsupportedModel),
        ("hidden_size", None, InvalidModelFile),
    ],
)
def test_a_folder_that_cannot_be_converted_leaves_nothing(
    store: Store, made: Made, tmp_path: Path, field: str, value: object, kind: type[Exception]
) -> None:
    (made.folder / "config.json").write_text(json.dumps(dict(made.config) | {field: value}))
    with pytest.raises(kind):
        create_model(store, "m", parse_modelfile("FROM ./hf\n"), tmp_path, lambda _: None)
    assert [path for path in store.root.rglob("*") if path.is_file() and path.stat().st_size] == []


async def test_create_over_http_converts_blobs(
    api: httpx.AsyncClient, store: Store, made: Made
) -> None:
    files = {}
    for name, path in made.files.items():
        data = path.read_bytes()
        files[name] = f"sha256:{hashlib.sha256(data).hexdigest()}"
        await api.post(f"/api/blobs/{files[name]}", content=data)
    response = await api.post("/api/create", json={"model": "remote", "files": files})
    events = [json.loads(line) for line in response.text.splitlines()]
    assert events[0] == {"status": "converting model"}
    assert events[-1] == {"status": "success"}
    assert [event["completed"] for event in events if "total" in event][-1] > 0
    assert store.get("remote").family == "llama"
    body = {"model": "other", "files": {"model.safetensors": files["config.json"]}, "stream": False}
    refused = await api.post("/api/create", json=body)
    assert refused.status_code == 400
    assert "is not a valid safetensors file" in refused.json()["error"]
    assert temporaries(store) == []
