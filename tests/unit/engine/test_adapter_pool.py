"""What stays loaded of adapters."""

import pytest

from cama.engine.adapters import Pool


class Shelf:
    """A pool of names, each as large as it is long."""

    def __init__(self, max_bytes: int) -> None:
        self.loads: list[str] = []
        self.unloaded: list[str] = []
        self.pool: Pool[str, str] = Pool(self.unloaded.append, max_bytes)

    def hold(self, name: str) -> None:
        def load() -> tuple[str, int]:
            self.loads.append(name)
            return name, len(name)

        self.pool.hold(name, load)


def test_what_is_there_is_not_loaded_again() -> None:
    shelf = Shelf(10)
    shelf.hold("one")
    shelf.hold("one")
    shelf.pool.release("one")
    shelf.pool.release("one")
    shelf.hold("one")
    assert shelf.loads == ["one"]
    assert (shelf.pool["one"], shelf.pool.n_bytes) == ("one", 3)


def test_idle_ones_go_least_recently_used_first() -> None:
    shelf = Shelf(6)
    for name in ("one", "two", "one", "six"):
        shelf.hold(name)
        shelf.pool.release(name)
    assert shelf.unloaded == ["two"]
    assert shelf.pool.n_bytes == 6


def test_held_ones_stay_whatever_they_take() -> None:
    shelf = Shelf(1)
    shelf.hold("one")
    shelf.hold("two")
    assert (shelf.unloaded, shelf.pool.n_bytes) == ([], 6)
    shelf.pool.release("one")
    assert shelf.unloaded == ["one"]


def test_failed_load_changes_nothing() -> None:
    shelf = Shelf(10)

    def fail() -> tuple[str, int]:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        shelf.pool.hold("one", fail)
    with pytest.raises(KeyError):
        shelf.pool["one"]
    shelf.hold("one")
    assert shelf.loads == ["one"]


def test_clear_unloads_what_is_held_too() -> None:
    shelf = Shelf(10)
    shelf.hold("one")
    shelf.pool.clear()
    assert (shelf.unloaded, shelf.pool.n_bytes) == (["one"], 0)
