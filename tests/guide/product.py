"""What the product has, as it says itself: commands, routes, fields, settings."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import typer
from starlette.routing import compile_path
from typer.core import TyperCommand

import cama.api.describe
import cama.wire.problems
import cama.wire.replies
from cama.api.app import ROUTES
from cama.cli.catalog import COMMANDS
from cama.cli.command import Command
from cama.core.generation import Finish, FinishReason
from cama.core.load import EngineChoice
from cama.core.settings import Settings
from cama.wire import requests, tokens
from cama.wire.answers import LoadReason, Metrics
from cama.wire.replies import ChatReplies, GenerateReplies
from cama.wire.shapes import GrammarFields

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "cama"

REQUESTS = (
    requests.GenerateRequest,
    requests.ChatRequest,
    requests.ShowRequest,
    requests.CopyRequest,
    requests.DeleteRequest,
    requests.EmbedRequest,
    requests.EmbeddingsRequest,
)
REASONS = frozenset((*get_args(FinishReason), *get_args(LoadReason)))
ENGINES = frozenset(get_args(EngineChoice))


@cache
def command(name: str) -> TyperCommand:
    """The command as ``cama NAME`` declares it; its context reads words without running it."""
    app = typer.Typer(add_completion=False)
    app.command(name, cls=Command)(import_module(f"cama.cli.{COMMANDS[name].module}").command)
    found = typer.main.get_command(app)
    assert isinstance(found, TyperCommand)
    return found


@cache
def help_texts() -> Mapping[str, str]:
    """What ``cama COMMAND --help`` prints, by command; that of ``cama --help`` is under ``""``."""
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", "cama", *([name] if name else []), "--help"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("", *COMMANDS)
    }
    texts = {name: process.communicate(timeout=60)[0] for name, process in processes.items()}
    assert [process.returncode for process in processes.values()] == [0] * len(processes)
    return texts


def shown_flags(name: str) -> frozenset[str]:
    """The flags that the help of a command shows."""
    section = help_texts()[name].partition("\nFlags:\n")[2].partition("\n\n")[0]
    return frozenset(re.findall(r"(?<!\S)--?[a-z][a-z-]*", section))


def variables() -> frozenset[str]:
    """Those that the settings read, by both of their names."""
    return frozenset(name for item in fields(Settings) for name in item.metadata["variables"])


@cache
def methods(path: str) -> frozenset[str]:
    """The methods of a route; none when there is no such route."""
    return frozenset(method for _, names, _ in _matching(path) for method in names)


def _matching(path: str) -> Iterator[tuple[str, Any, Any]]:
    for row in ROUTES:
        if compile_path(row[0])[0].match(path) or row[0].startswith(f"{path}/{{"):
            yield row


@cache
def api_fields() -> frozenset[str]:
    """The names of all fields that requests and replies of the API have."""
    types = (*REQUESTS, requests.Message, tokens.TokenizeRequest, tokens.DetokenizeRequest)
    names = {item.name for kind in types for item in fields(kind)}
    names.update(GrammarFields.__annotations__)
    for module in (cama.api.describe, cama.wire.problems, cama.wire.replies, tokens):
        names.update(_literal_keys(module))
    return frozenset(names | _reply_fields())


def _reply_fields() -> set[str]:
    finish = Finish(
        reason="stop", prompt_tokens=1, cached_tokens=1, truncated_tokens=1, shifted_tokens=1,
        eval_tokens=1, prompt_seconds=1, eval_seconds=1,
    )  # fmt: skip
    metrics = Metrics(finish=finish, total_seconds=1, load_seconds=1, truncated_messages=1)
    return {
        *GenerateReplies("mine").final(metrics, context=[1]),
        *ChatReplies("mine").final(metrics),
    }


def _literal_keys(module: ModuleType) -> Iterator[str]:
    """The keys of the dictionaries that are written out in a module."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Dict):
            keys = (key.value for key in node.keys if isinstance(key, ast.Constant))
            yield from (key for key in keys if isinstance(key, str))
