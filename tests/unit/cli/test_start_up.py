"""What a command imports: nothing that it does not need."""

import re
import subprocess
import sys

import pytest

from tests.unit.client.tiny_server import TinyServer

HEAVY = {
    "numpy", "starlette", "fastapi", "uvicorn", "httpx", "pydantic", "rich", "jinja2",
    "prompt_toolkit", "asyncio", "llama_cpp", "psutil",
}  # fmt: skip


def imported(*words: str) -> set[str]:
    """The names of the modules that ``python -m cama`` imports for a command line."""
    command = [sys.executable, "-X", "importtime", "-m", "cama", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(re.findall(r"\| +(\S+)$", result.stderr, re.MULTILINE))


def heavy(modules: set[str]) -> set[str]:
    return {
        name
        for name in modules
        if name.partition(".")[0] in HEAVY
        or name.startswith(("cama.ggml", "cama.engine", "cama.api", "cama.gguf"))
    }


def test_help_imports_nothing_heavy() -> None:
    modules = imported("--help")
    assert heavy(modules) == set()
    assert not {"typer", "http.client"} & modules


def test_list_imports_nothing_heavy(server: TinyServer) -> None:
    server.answer("/api/tags", {"models": []})
    assert heavy(imported("list")) == set()


@pytest.mark.parametrize("words", [("run", "m", "hello")])
def test_run_imports_nothing_heavy(server: TinyServer, words: tuple[str, ...]) -> None:
    server.answer("/api/show", {"capabilities": ["completion"]})
    server.answer("/api/generate", {"response": "hi", "done": True})
    assert heavy(imported(*words)) == set()
