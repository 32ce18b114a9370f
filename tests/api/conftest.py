"""An application over a store of tiny models."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.api.app import create_app
from cama.core.settings import Settings
from cama.gguf import write_gguf
from cama.gguf.values import U32, Array, ValueType
from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.store.store import Store
from tests.api.describing import check_described
from tests.api.fakes import FakeRunner, FakeScheduler, hello, runner_info

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if enable_thinking is defined %}[thinking={{ enable_thinking }}]{% endif %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
STRICT_TEMPLATE = (
    "{% if messages[0].role != 'user' %}{{ raise_exception('begin with the user') }}{% endif %}"
    + CHAT_TEMPLATE
)
CALLING_TEMPLATE = (
    "{% for m in messages %}{% for c in m.tool_calls %}"
    "|{{ c.function.name }}:{{ c.function.arguments | tojson }}|{% endfor %}"
    "{% if m.role == 'tool' %}|{{ m.name }}={{ m.content }}|{% endif %}{% endfor %}"
)

Create = Callable[..., None]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with GGUF files and a store that has them; made once, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    store = Store(folder / "models")
    templates = {"chatty": CHAT_TEMPLATE, "strict": STRICT_TEMPLATE, "caller": CALLING_TEMPLATE}
    for name, template in templates.items():
        write(store, folder, name, {"tokenizer.chat_template": template})
    write(store, folder, "base", {})
    write(store, folder, "embedder", {"llama.pooling_type": U32(1)})
    return folder


@pytest.fixture
def store(models: Path, tmp_path: Path) -> Store:
    """Models with chat templates, and ``base`` and ``embedder`` without."""
    shutil.copytree(models, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Store(tmp_path / "models")


def write(store: Store, folder: Path, name: str, metadata: dict[str, Any]) -> None:
    path = folder / f"{name}.gguf"
    words = Array(ValueType.STRING, ["a", "b", "c"])
    common: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": name,
        "tokenizer.tokens": words,
    }
    write_gguf(path, common | metadata, [])
    create_model(store, name, parse_modelfile(f"FROM {path}\n"), folder, lambda text: None)


@pytest.fixture
def create(store: Store, tmp_path: Path) -> Create:
    """Make a model from commands that follow its FROM."""

    def make(name: str, commands: str, base: str = "chatty") -> None:
        text = f"FROM {base}\n{commands}\n"
        create_model(store, name, parse_modelfile(text), tmp_path, lambda line: None)

    return make


@pytest.fixture
async def runner() -> FakeRunner:
    return FakeRunner(runner_info(), hello())


@pytest.fixture
async def scheduler(runner: FakeRunner) -> FakeScheduler:
    return FakeScheduler(runner)


@pytest.fixture
def settings(store: Store) -> Settings:
    return Settings(offline=True, models=store.root)


@pytest.fixture
async def api(
    settings: Settings, store: Store, scheduler: FakeScheduler
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings, store, scheduler)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1:11434",
        event_hooks={"response": [check_described]},
    ) as client:
        yield client


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    """The objects of a streamed answer."""
    return [json.loads(line) for line in response.text.splitlines()]
