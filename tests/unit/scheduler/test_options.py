"""Which differences of load options cost a reload."""

from pathlib import Path
from typing import Any

import pytest

from cama.core.load import Draft, LoadOptions
from cama.scheduler.options import serves
from tests.unit.scheduler.fakes import info

TRAINED = info(n_ctx_train=8192)
DRAFT = Draft(path=Path("/d"), digest="0")


@pytest.mark.parametrize(
    ("loaded", "wanted"),
    [
        ({}, {}),
        ({}, {"n_ctx": 4096}),
        ({"n_ctx": 4096}, {}),
        ({"n_ctx": 8192}, {}),
        ({"n_ctx": 8192}, {"n_ctx": 100_000}),
        ({"n_ctx": 1}, {"n_ctx": 4}),
        ({"n_threads": 4}, {}),
        ({"n_gpu_layers": 10}, {"n_gpu_layers": -1}),
        ({"n_cells": 9000}, {}),
        ({"engine": "llama"}, {}),
        ({}, {"engine": "fake"}),
        ({"draft": DRAFT}, {}),
        ({"draft": DRAFT}, {"draft": DRAFT}),
        ({"projector": Path("/p")}, {}),
        ({"projector": Path("/p")}, {"projector": Path("/p")}),
        ({"adapts_experts": True}, {}),
        ({"adapts_experts": True}, {"adapts_experts": True}),
    ],
)
def test_loaded_options_serve(loaded: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert serves(LoadOptions(**loaded), TRAINED, LoadOptions(**wanted))


@pytest.mark.parametrize(
    ("loaded", "wanted"),
    [
        ({}, {"draft": DRAFT}),
        ({}, {"projector": Path("/p")}),
        ({"projector": Path("/p")}, {"projector": Path("/q")}),
        ({}, {"adapts_experts": True}),
        ({"draft": Draft(path=Path("/e"), digest="1")}, {"draft": DRAFT}),
        ({}, {"n_ctx": 2048}),
        ({"n_ctx": 2048}, {}),
        ({"n_ctx": 8192}, {"n_ctx": 4096}),
        ({}, {"n_threads": 4}),
        ({"n_gpu_layers": 10}, {"n_gpu_layers": 0}),
        ({"n_batch": 512}, {"n_batch": 256}),
        ({"n_parallel": 8}, {"n_parallel": 1}),
        ({"use_mmap": True}, {"use_mmap": False}),
        ({"engine": "native"}, {"engine": "llama"}),
        ({"n_cells": 9000}, {"n_cells": 8000}),
    ],
)
def test_loaded_options_do_not_serve(loaded: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert not serves(LoadOptions(**loaded), TRAINED, LoadOptions(**wanted))


def test_libllama_serves_adapters_of_experts() -> None:
    loaded, wanted = LoadOptions(), LoadOptions(adapts_experts=True)
    assert serves(loaded, info(n_ctx_train=8192, engine="llama"), wanted)
