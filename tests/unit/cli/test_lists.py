"""``list`` and ``ps``: the tables."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cama.cli.list import models_table
from cama.cli.ps import loaded_table, processor
from cama.core.errors import CamaError
from tests.unit.cli.conftest import Cama
from tests.unit.client.test_client import unused_port
from tests.unit.client.tiny_server import TinyServer

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

STORED = [
    {
        "name": "llama3.2:1b",
        "digest": "baf6a787fdffd633537aa2eb51cfd54cb93ff08e28040095462bb63daf552878",
        "size": 1_321_098_329,
        "modified_at": "2026-11-22T10:00:00Z",
    },
    {
        "name": "Guide:latest",
        "digest": "0123456789abcdef",
        "size": 42_000_000,
        "modified_at": "2026-11-01T12:00:00+02:00",
    },
    {
        "name": "far:away",
        "remote_model": "far",
        "digest": "ff",
        "size": 300,
        "modified_at": "0001-01-01T00:00:00Z",
    },
]

LOADED = [
    {
        "name": "llama3.2:1b",
        "digest": "baf6a787fdffd633",
        "size": 2_000_000_000,
        "size_vram": 0,
        "engine": "native",
        "context_length": 4096,
        "expires_at": "2026-11-22T12:04:30Z",
    },
    {
        "name": "guide:latest",
        "digest": "0123456789abcdef",
        "size": 42_000_000,
        "size_vram": 42_000_000,
        "engine": "llama",
        "context_length": 131072,
        "expires_at": "2318-11-22T12:00:00Z",
    },
    {
        "name": "late:1",
        "digest": "aa",
        "size": 900,
        "size_vram": 225,
        "context_length": 8,
        "expires_at": "2026-11-22T11:59:00Z",
    },
]


def test_models_table_is_aligned() -> None:
    assert models_table(STORED, NOW) == (
        "NAME            ID              SIZE      MODIFIED\n"
        "llama3.2:1b     baf6a787fdff    1.3 GB    2 hours ago\n"
        "Guide:latest    0123456789ab    42 MB     3 weeks ago\n"
        "far:away        ff              -         Never\n"
    )


def test_models_table_filters_in_any_case() -> None:
    assert models_table(STORED, NOW, "gUI").splitlines()[1].startswith("Guide:latest")
    assert len(models_table(STORED, NOW, "gUI").splitlines()) == 2


def test_models_table_has_a_header_without_models() -> None:
    assert models_table([], NOW) == "NAME    ID    SIZE    MODIFIED\n"


@pytest.mark.parametrize("field", ["name", "digest", "size", "modified_at"])
def test_models_table_refuses_fields_of_the_wrong_type(field: str) -> None:
    with pytest.raises(CamaError):
        models_table([STORED[0] | {field: ["?"]}], NOW)


def test_loaded_table_is_aligned() -> None:
    lines = loaded_table(LOADED, NOW).splitlines()
    assert [line[:76].rstrip() for line in lines] == [
        "NAME            ID              SIZE     PROCESSOR          CONTEXT    UNTIL",
        "llama3.2:1b     baf6a787fdff    2 GB     100% CPU           4096       4 min",
        "guide:latest    0123456789ab    42 MB    100% GPU           131072     Forev",
        "late:1          aa              900 B    75%/25% CPU/GPU    8          Stopp",
    ]
    assert [line[71:] for line in lines] == [
        "UNTIL                 ENGINE",
        "4 minutes from now    native",
        "Forever               llama",
        "Stopping...",
    ]


def test_loaded_table_filters_exactly() -> None:
    assert loaded_table(LOADED, NOW, "Guide").count("\n") == 1
    assert loaded_table(LOADED, NOW, "guide").count("\n") == 2


@pytest.mark.parametrize(
    ("size", "size_vram", "text"),
    [
        (100, 0, "100% CPU"),
        (100, 100, "100% GPU"),
        (100, 101, "Unknown"),
        (0, 5, "Unknown"),
        (1000, 333, "67%/33% CPU/GPU"),
    ],
)
def test_processor_tells_where_a_model_lies(size: int, size_vram: int, text: str) -> None:
    assert processor(size, size_vram) == text


@pytest.mark.parametrize("name", ["list", "ls"])
def test_list_shows_the_models_of_the_server(server: TinyServer, cama: Cama, name: str) -> None:
    server.answer("/api/tags", {"models": STORED})
    outcome = cama(name, "GUIDE")
    assert outcome.status == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["NAME", "Guide:latest"]


def test_ps_shows_the_loaded_models(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/ps", {"models": LOADED})
    assert [line.split()[0] for line in cama("ps").out.splitlines()] == [
        "NAME", "llama3.2:1b", "guide:latest", "late:1",
    ]  # fmt: skip


def test_ps_without_a_server_is_an_empty_table(cama: Cama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMA_HOST", f"127.0.0.1:{unused_port()}")
    outcome: Any = cama("ps")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == "NAME    ID    SIZE    PROCESSOR    CONTEXT    UNTIL    ENGINE\n"
