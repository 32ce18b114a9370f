"""Models spread over devices with memory of their own: the same logits, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cama.core.errors import EngineError, UnsupportedModel
from cama.core.load import CacheType, LoadOptions, Room
from cama.core.placement import GPU_RESERVE
from cama.engine.base import Logits, Plan, SeqId, Span
from cama.engine.native import devices
from cama.engine.native.engine import NativeEngine
from cama.ggml import _abi, backend
from cama.ggml.backend import Device
from cama.ggml.backend import devices as every_device
from cama.ggml.library import own_kernels
from tests.adapters import write_adapter
from tests.models import toys
from tests.software_device import SoftwareDevice

pytestmark = pytest.mark.native

SPLIT = (Room("SOFT0", 150_000), Room("SOFT1", 200_000))
WHOLE = (Room("SOFT0", 100_000_000),)
A, B = SeqId(0), SeqId(1)


@pytest.fixture(scope="module")
def software() -> tuple[SoftwareDevice, ...]:
    return SoftwareDevice("SOFT0", 1 << 30), SoftwareDevice("SOFT1", 2 << 30)


@pytest.fixture(autouse=True)
def listed(software: tuple[SoftwareDevice, ...], monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """What the machine seems to have: no kernels of ours, which round as no other device does."""
    found = backend.devices()
    cpus = [device for device in found if device.type != _abi.GGML_BACKEND_DEVICE_TYPE_ACCEL]
    there = [*cpus, *(device.listed for device in software)]
    monkeypatch.setattr(backend, "devices", lambda: cpus)
    monkeypatch.setattr(devices, "devices", lambda: there)
    return there


def _open(path: Path, load: LoadOptions) -> NativeEngine:
    return NativeEngine.open(path, load, "test", lambda _: None)


def _talk(engine: NativeEngine) -> list[Logits]:
    """A prompt, a step, the state saved and restored as another sequence, and two steps beside."""
    ids = [5 + i * 7 % 400 for i in range(50)]
    if engine.info.n_vocab < 400:
        ids = [token % engine.info.n_vocab for token in ids]
    rows = [engine.forward(Plan((Span(A, 0, ids, 50),))).copy()]
    rows.append(engine.forward(Plan((Span(A, 50, [9], 1),))).copy())
    state = engine.save(A, 51)
    assert engine.restore(B, state) == 51
    assert engine.save(B, 51) == state
    both = Plan((Span(A, 51, [11], 1), Span(B, 51, [12], 1)))
    rows.append(engine.forward(both).copy())
    engine.truncate(A, 0)
    rows.append(engine.forward(Plan((Span(A, 0, ids[:7], 1), Span(B, 52, [3], 1)))).copy())
    return rows


@pytest.mark.parametrize("name", toys.NATIVE)
def test_a_split_model_computes_what_it_does_on_the_cpu(
    toy_file: Callable[[str], Path], name: str
) -> None:
    load = toys.NATIVE[name].load()
    found = []
    for rooms in ((), SPLIT, WHOLE):
        engine = _open(toy_file(name), replace(load, rooms=rooms, n_gpu_layers=-1 if rooms else 0))
        found.append(_talk(engine))
        assert (engine._scheduler.n_splits > 1) == (len(engine.info.devices) > 1)
        engine.close()
    for others in found[1:]:
        for expected, row in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(expected, row)
    assert engine._devices.placement.output == 0


def test_layers_that_stay_on_the_cpu_have_kernels_there(
    toy_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not own_kernels().name:
        pytest.skip(f"no kernels on this machine: {own_kernels().reason}")
    load = replace(toys.NATIVE["llama"].load(), rooms=SPLIT[:1])
    found = []
    for machine in (backend.devices, every_device):
        monkeypatch.setattr(backend, "devices", machine)
        engine = _open(toy_file("llama"), load)
        assert engine.info.devices == ("SOFT0", "CPU")
        found.append((engine._devices.cpu.addresses, _talk(engine)))
        engine.close()
    (alone, plain), (beside, ours) = found
    assert (len(alone), len(beside)) == (1, 2)
    for expected, row in zip(plain, ours, strict=True):
        assert np.linalg.norm(row - expected) <= 0.01 * np.linalg.norm(expected)


def test_layers_and_their_cells_are_where_the_plan_puts_them(
    toy_file: Callable[[str], Path],
) -> None:
    load = replace(toys.NATIVE["llama"].load(), rooms=SPLIT)
    engine = _open(toy_file("llama"), load)
    assert engine.info.devices == ("SOFT0", "SOFT1", "CPU")
    assert engine._devices.placement.layers == (1, 0, 0)
    assert all(not pool.is_host for pool in engine._storage.pools)
    assert not engine.model.output.weight.is_host
    assert engine.model.token_embd.weight.is_host
    assert engine._scheduler.n_splits == 4
    engine.close()


def test_num_gpu_bounds_the_layers_that_leave_the_cpu(toy_file: Callable[[str], Path]) -> None:
    for wanted, layers, output in ((0, [], None), (1, [2], None), (3, [0, 1, 2], None)):
        load = replace(toys.NATIVE["llama"].load(), n_gpu_layers=wanted, rooms=WHOLE)
        engine = _open(toy_file("llama"), load)
        placement = engine._devices.placement
        assert [i for i, device in enumerate(placement.layers) if device is not None] == layers
        assert placement.output is output
        engine.close()


def test_without_a_budget_gpus_take_what_they_have_room_for(
    toy_file: Callable[[str], Path], listed: list[Device]
) -> None:
    """The one with the most free memory first, but for what its driver needs."""
    engine = _open(toy_file("llama"), toys.NATIVE["llama"].load())
    assert engine.info.devices == ("SOFT1", "CPU")
    engine.close()
    listed[:] = [replace(device, free_bytes=GPU_RESERVE + 1000) for device in listed]
    engine = _open(toy_file("llama"), toys.NATIVE["llama"].load())
    assert engine.info.devices == ("CPU",)
    engine.close()


@pytest.mark.parametrize("cache_type", ["q8_0", "f32"])
def test_cells_of_every_type_are_kept_on_devices(
    tiny_model: Callable[..., Path], cache_type: CacheType
) -> None:
    load = replace(toys.NATIVE["llama"].load(cache_type), n_gpu_layers=0)
    rooms = (Room("SOFT0", 3_000_000), Room("SOFT1", 3_000_000))
    found = []
    for changed in (load, replace(load, rooms=rooms, n_gpu_layers=-1)):
        engine = _open(tiny_model("llama"), changed)
        found.append(_talk(engine))
        engine.close()
    for expected, row in zip(*found, strict=True):
        np.testing.assert_array_equal(expected, row)


def test_a_device_that_is_not_there_is_refused(toy_file: Callable[[str], Path]) -> None:
    load = replace(toys.NATIVE["llama"].load(), rooms=(Room("CUDA7", 1 << 30),))
    with pytest.raises(UnsupportedModel, match="there is no device 'CUDA7' here"):
        _open(toy_file("llama"), load)


def test_a_context_shifts_on_devices(toy_file: Callable[[str], Path]) -> None:
    found = []
    for rooms in ((), SPLIT):
        load = replace(toys.NATIVE["qwen3"].load(), rooms=rooms, n_gpu_layers=-1 if rooms else 0)
        engine = _open(toy_file("qwen3"), load)
        engine.forward(Plan((Span(A, 0, list(range(20, 60)), 0),)))
        engine.shift(A, 4, 20)
        found.append(engine.forward(Plan((Span(A, 24, [7], 1),))).copy())
        engine.close()
    np.testing.assert_array_equal(found[0], found[1])


def test_adapters_and_vectors_work_on_devices(
    toy_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path = toy_file("qwen3")
    adapters = (write_adapter(tmp_path / "a.gguf", path),)
    rows, vectors = [], []
    for rooms in ((), SPLIT):
        load = replace(toys.NATIVE["qwen3"].load(), rooms=rooms, n_gpu_layers=-1 if rooms else 0)
        engine = _open(path, load)
        engine.hold_adapters(adapters)
        spans = (Span(A, 0, [5, 6, 7], 1, adapters), Span(B, 0, [5, 6, 7], 1))
        rows.append(engine.forward(Plan(spans)).copy())
        vectors.append(engine.embed([[1, 2, 3], [4, 5]]))
        engine.close()
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[0][0] - rows[0][1]).max() > 0.1
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_a_device_that_breaks_its_word_fails_the_load(
    toy_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has less memory than it said: an error, not the end of the process."""
    from cama.ggml.library import ggml

    monkeypatch.setattr(ggml(), "ggml_backend_alloc_buffer", lambda backend, n_bytes: 0)
    load = replace(toys.NATIVE["llama"].load(), rooms=WHOLE)
    with pytest.raises(EngineError, match="could not allocate"):
        _open(toy_file("llama"), load)
