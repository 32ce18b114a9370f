"""Plans of memory: what fits, how long a context may be, what goes where."""

from dataclasses import replace
from typing import Any

import pytest

from cama.core.load import LoadOptions, spare_states
from cama.scheduler.host import HostMemory
from cama.scheduler.memory import PROCESS_BYTES, need
from cama.scheduler.plan import Device, Model, plan, required
from cama.store.shape import Layer, Shape

MIB = 2**20


def shape(n_layer: int = 4, n_ctx_train: int = 32768, **layer: Any) -> Shape:
    """Layers of 10 MiB each, whose caches take 4 KiB for a token."""
    one = Layer(**{"weights_bytes": 10 * MIB, "key": 1024, "value": 1024, **layer})
    return Shape(
        layers=(one,) * n_layer,
        input_bytes=5 * MIB,
        output_bytes=5 * MIB,
        n_ctx_train=n_ctx_train,
        n_embd=64,
        n_vocab=0,
        n_wide=128,
    )


def model(path: str = "m", of: Shape | None = None, **load: Any) -> Model:
    return Model(path=path, shape=of or shape(), load=LoadOptions(**load))


def host(mebibytes: int) -> HostMemory:
    return HostMemory(total=2**40, available=mebibytes * MIB)


def test_need_adds_up() -> None:
    found = need(shape(), LoadOptions(n_ctx=4096, engine="native"))
    sizes = {item.kind: item.n_bytes for item in found.items}
    assert sizes["weights"] == 50 * MIB
    assert sizes["full"] == 4 * 8192 * 4096
    assert sizes["process"] == PROCESS_BYTES
    assert found.n_bytes == sum(sizes.values())
    assert found.by_layer == (10 * MIB + 8192 * 4096,) * 4


@pytest.mark.parametrize(
    ("load", "cells"),
    [
        ({"n_ctx": 4096}, 8192),
        ({"n_ctx": 4096, "n_cells": 5000}, 5120),
        ({"n_ctx": 100_000}, 65536),  # bound by what it was trained on
        ({}, 8192),
    ],
)
def test_need_follows_the_context(load: dict[str, Any], cells: int) -> None:
    found = need(shape(), LoadOptions(**load))
    assert found.n_cells == cells
    assert {i.kind: i.n_bytes for i in found.items}["full"] == cells * 4096 * 4


def test_need_of_states_follows_the_number_of_requests() -> None:
    states = shape(key=0, value=0, state=1000)
    one, eight = (
        {i.kind: i.n_bytes for i in need(states, LoadOptions(n_parallel=n)).items} for n in (1, 8)
    )
    n_spare = spare_states(4 * 4000)
    assert one["states"] == 4 * 4000 * (1 + n_spare)
    assert eight["states"] == 4 * 4000 * (8 + n_spare)
    assert "full" not in one


def test_large_states_are_few() -> None:
    assert [spare_states(n) for n in (0, 1000, 64 << 20, 1 << 30)] == [0, 256, 16, 8]


def test_plan_fits_or_says_what_would() -> None:
    roomy = plan(model(n_ctx=4096), host(1000))
    assert roomy.fits
    assert roomy.max_n_ctx < 32768
    assert "bound by the memory available" in roomy.reason
    tight = plan(model(n_ctx=32768), host(1000))
    assert not tight.fits
    assert tight.max_n_ctx == roomy.max_n_ctx
    assert f"at most {tight.max_n_ctx} tokens would fit" in tight.reason


def test_plan_longest_context_fits_and_a_longer_one_does_not() -> None:
    longest = plan(model(), host(1000)).max_n_ctx
    assert plan(model(n_ctx=longest), host(1000)).fits
    assert not plan(model(n_ctx=longest + 256), host(1000)).fits


def test_plan_names_training_as_the_bound_where_memory_is_plenty() -> None:
    found = plan(model(), host(10_000))
    assert found.max_n_ctx == 32768
    assert "bound by what it was trained on" in found.reason


def test_plan_of_what_can_never_fit() -> None:
    found = plan(model(), host(50))
    assert (found.fits, found.max_n_ctx) == (False, 0)
    assert "no context is short enough" in found.reason


def test_plan_counts_the_weights_of_one_file_once() -> None:
    own = required(model("m"))
    same, other = required(model("m"), model("m")), required(model("m"), model("d"))
    assert other - same == 50 * MIB
    assert own < same < 2 * own


@pytest.mark.parametrize(
    ("free", "layers"),
    [
        ([], [4]),
        ([100], [4]),  # less than a driver takes
        ([2000], [0, 4]),
        ([560], [2, 2]),
        ([560, 600], [0, 3, 1]),  # the one with most room first
        ([2000, 2000], [0, 4]),  # one is preferred over several
    ],
)
def test_plan_gives_layers_to_devices(free: list[int], layers: list[int]) -> None:
    gpus = [Device(name=f"GPU{i}", free=size * MIB) for i, size in enumerate(free)]
    found = plan(model(n_ctx=4096), host(1000), gpus=gpus)
    assert [share.n_layers for share in found.shares] == layers
    assert sum(share.has_output for share in found.shares) == 1
    assert found.n_bytes >= required(model(n_ctx=4096))


@pytest.mark.parametrize(("n_gpu_layers", "layers"), [(0, [4]), (2, [2, 2]), (99, [0, 4])])
def test_plan_gives_no_more_layers_than_asked(n_gpu_layers: int, layers: list[int]) -> None:
    gpus = [Device(name="GPU", free=2000 * MIB)]
    found = plan(model(n_gpu_layers=n_gpu_layers), host(1000), gpus=gpus)
    assert [share.n_layers for share in found.shares] == layers


def test_plan_as_json_adds_up() -> None:
    found = plan(model(n_ctx=4096), host(1000), draft=model("d", shape(1))).to_json()
    assert sum(item["bytes"] for item in found["items"]) == found["required"]
    assert {item["of"] for item in found["items"]} == {"model", "draft"}
    assert found["devices"][0]["required"] == found["required"]


def test_plan_without_a_trained_length_is_bound_by_memory() -> None:
    found = plan(model(of=replace(shape(), n_ctx_train=0)), host(1000))
    assert 4096 < found.max_n_ctx < 100_000
