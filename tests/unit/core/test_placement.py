"""Layers to devices: a table of sizes, rooms and wishes."""

import random

import pytest

from cama.core.placement import Placement, place

ALL, CPU = -1, None


@pytest.mark.parametrize(
    ("layers", "output", "rooms", "wanted", "expected", "expected_output"),
    [
        # nothing to go to, and nothing that may go
        ([10, 10], 5, [], ALL, (CPU, CPU), CPU),
        ([10, 10], 5, [100], 0, (CPU, CPU), CPU),
        # all of it, and all but the output
        ([10, 10], 5, [25], ALL, (0, 0), 0),
        ([10, 10], 5, [24], ALL, (0, 0), CPU),
        # the last layers first
        ([10, 10, 10], 5, [29], ALL, (CPU, 0, 0), CPU),
        ([10, 10, 10], 1, [9], ALL, (CPU, CPU, CPU), CPU),
        # so many are wanted, and the output counts as one behind them
        ([10, 10, 10], 5, [100], 2, (CPU, 0, 0), CPU),
        ([10, 10, 10], 5, [100], 3, (0, 0, 0), CPU),
        ([10, 10, 10], 5, [100], 4, (0, 0, 0), 0),
        ([10, 10, 10], 5, [100], 99, (0, 0, 0), 0),
        # one device after the other; the output goes where there is room
        ([10, 10, 10, 10], 5, [20, 25], ALL, (1, 1, 0, 0), 1),
        ([10, 10, 10, 10], 5, [26, 25], ALL, (1, 1, 0, 0), 0),
        ([10, 10, 10, 10], 5, [20, 10], ALL, (CPU, 1, 0, 0), CPU),
        # a large layer leaves a small device behind
        ([10, 30, 10], 5, [15, 60], ALL, (1, 1, 0), 0),
        ([10, 30, 10], 6, [15, 60], ALL, (1, 1, 0), 1),
        ([5, 30, 10], 5, [15, 20], ALL, (CPU, CPU, 0), CPU),
    ],
)
def test_layers_are_placed(
    layers: list[int],
    output: int,
    rooms: list[int],
    wanted: int,
    expected: tuple[int | None, ...],
    expected_output: int | None,
) -> None:
    found = place(layers, output, rooms, wanted)
    assert found == Placement(expected, expected_output)
    assert found.is_on_cpu == (set(expected) <= {CPU} and expected_output is CPU)


def test_no_device_is_ever_overfilled() -> None:
    rng = random.Random(7)
    for _ in range(500):
        layers = [rng.randint(1, 40) for _ in range(rng.randint(1, 12))]
        rooms = [rng.randint(0, 120) for _ in range(rng.randint(0, 3))]
        output, wanted = rng.randint(1, 60), rng.choice([ALL, *range(15)])
        found = place(layers, output, rooms, wanted)
        taken = [0] * len(rooms)
        for size, device in zip((*layers, output), (*found.layers, found.output), strict=True):
            if device is not CPU:
                taken[device] += size
        assert all(used <= room for used, room in zip(taken, rooms, strict=True))
        moved = [device for device in found.layers if device is not CPU]
        assert found.layers[len(layers) - len(moved) :] == tuple(moved)
        assert moved == sorted(moved, reverse=True)
        assert wanted == ALL or len(moved) + (found.output is not CPU) <= wanted
        if found.output is not CPU:
            assert len(moved) == len(layers)
