"""``cama plan``."""

import json

from cama.cli.plan import described
from tests.unit.cli.conftest import Cama
from tests.unit.client.tiny_server import TinyServer

PLAN = {
    "model": "mine",
    "context_length": 4096,
    "parallel": 8,
    "cells": 8192,
    "cache_type": "f16",
    "fits": False,
    "reason": "2.0 GiB are needed, 1.0 GiB are available",
    "required": 3 * 2**30,
    "items": [
        {"of": "model", "kind": "weights", "layers": 16, "bytes": 2**30},
        {"of": "model", "kind": "states", "layers": 1, "bytes": 3 * 2**20},
        {"of": "draft", "kind": "compute", "layers": 0, "bytes": 2**31},
    ],
    "devices": [{"name": "CPU", "layers": 16, "output": True, "required": 1, "available": 2}],
}

SHOWN = """\
mine: context 4096, 8 requests at once, 8192 cells of f16

  weights, mapped from the file    16 layers    1.0 GiB
  running states                   1 layer      3.0 MiB
  draft: compute buffers                        2.0 GiB
  in all                                        3.0 GiB

does not fit: 2.0 GiB are needed, 1.0 GiB are available
"""


def test_plan_is_a_table() -> None:
    assert described(PLAN) == SHOWN


def test_plan_lists_devices_where_there_are_several() -> None:
    gpu = {"name": "GPU0", "layers": 1, "output": False, "required": 2**30, "available": 2**31}
    cpu = {"name": "CPU", "layers": 15, "output": True, "required": 2**20, "available": 2**30}
    shown = described(PLAN | {"devices": [cpu, gpu]})
    assert "CPU     15 layers and the output    1.0 MiB of 1.0 GiB" in shown
    assert "GPU0    1 layer                     1.0 GiB of 2.0 GiB" in shown


def test_plan_asks_the_server(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/plan", PLAN)
    assert cama("plan", "mine").out == SHOWN
    outcome = cama("plan", "mine", "--ctx", "64", "--parallel", "2", "--memory", "8GB", "--json",
                   "--gpu", "24GB,8GiB")  # fmt: skip
    assert json.loads(outcome.out) == PLAN
    assert server.bodies("/api/plan") == [
        {"model": "mine", "parallel": 0, "cache_type": ""},
        {
            "model": "mine",
            "parallel": 2,
            "cache_type": "",
            "options": {"num_ctx": 64},
            "memory": "8GB",
            "devices": [{"name": "GPU0", "free": "24GB"}, {"name": "GPU1", "free": "8GiB"}],
        },
    ]
