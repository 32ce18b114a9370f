"""What a runner process inherits."""

import os
from pathlib import Path

import pytest

import cama
from cama.core.errors import RunnerError
from cama.core.load import LoadOptions
from cama.runner.environment import available_cpus, child_command, child_environment

SOURCE = str(Path(cama.__file__).parent.parent)


def test_environment_bounds_the_spinning_of_threads() -> None:
    assert child_environment(LoadOptions(), {})["GOMP_SPINCOUNT"] == "1000"


def test_environment_says_how_many_threads_compute() -> None:
    assert child_environment(LoadOptions(n_threads=3), {})["OMP_NUM_THREADS"] == "3"
    assert child_environment(LoadOptions(), {})["OMP_NUM_THREADS"] == str(available_cpus())


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_NUM_THREADS", "GGML_NO_BACKTRACE"])
def test_environment_leaves_what_the_user_set(name: str) -> None:
    assert child_environment(LoadOptions(n_threads=3), {name: "7"})[name] == "7"


def test_environment_keeps_the_rest() -> None:
    environment = child_environment(LoadOptions(), {"PATH": "/bin"})
    assert environment["PATH"] == "/bin"
    assert "OMP_WAIT_POLICY" not in environment


def test_environment_lets_a_source_checkout_be_imported() -> None:
    assert child_environment(LoadOptions(), {})["PYTHONPATH"] == SOURCE
    environment = child_environment(LoadOptions(), {"PYTHONPATH": "/other"})
    assert environment["PYTHONPATH"] == os.pathsep.join([SOURCE, "/other"])


def test_environment_leaves_the_path_of_an_installed_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cama, "__file__", "/venv/lib/site-packages/cama/__init__.py")
    assert "PYTHONPATH" not in child_environment(LoadOptions(), {})


def test_command_needs_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(RunnerError, match="interpreter"):
        child_command()


def test_environment_holds_no_keys() -> None:
    inherited = child_environment(LoadOptions(), {"CAMA_API_KEYS": "k", "CAMA_API_KEY": "k"})
    assert "k" not in inherited.values()
