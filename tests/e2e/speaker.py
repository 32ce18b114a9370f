"""A server over real HTTP whose model says what a test tells it to, in no time."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from cama.api.app import create_app
from cama.api.connection import Connection
from cama.api.server import listen
from cama.core.generation import Chunk
from cama.core.settings import Address, Settings
from cama.store.store import Store
from tests.api.conftest import write
from tests.api.fakes import FakeRunner, FakeScheduler, finish, runner_info

TEMPLATE = (
    "{% for tool in tools or [] %}<tool_call>{{ tool.function.name }}{% endfor %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    "{# <think></think> #}"
)
MODEL = "speaker"


@dataclass(frozen=True)
class Speaker:
    """``runner`` remembers what it was asked."""

    url: str
    runner: FakeRunner

    def says(self, *texts: str) -> None:
        """The next answers, in pieces."""
        self.runner.script = [*(Chunk(text=text, n_tokens=1) for text in texts), finish()]

    @property
    def heard(self) -> str:
        """The last prompt."""
        return str(self.runner.generations[-1].prompt)


@contextmanager
def speaking(folder: Path) -> Iterator[Speaker]:
    store = Store(folder / "models")
    write(store, folder, MODEL, {"tokenizer.chat_template": TEMPLATE})
    runner = FakeRunner(runner_info(), [])
    app = create_app(Settings(models=store.root), store, FakeScheduler(runner))
    server = uvicorn.Server(
        uvicorn.Config(app, http=Connection, lifespan="on", ws="none", log_config=None)
    )
    with listen(Address("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
        thread.start()
        try:
            host, port = listener.getsockname()
            yield Speaker(f"http://{host}:{port}", runner)
        finally:
            server.should_exit = True
            thread.join()
