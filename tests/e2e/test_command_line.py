"""The command line from end to end: a server of its own, answers, and errors a user can act on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.conftest import World, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.native]


def test_run_starts_a_server_and_says_so_once(world: World, model: str) -> None:
    first = world.cama("run", model, "Once upon a time")
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip()
    assert str(world.port) in first.stderr
    second = world.cama("run", model, "Once upon a time")
    assert second.returncode == 0, second.stderr
    assert "server" not in second.stderr


def test_run_reads_a_prompt_from_a_pipe(world: World, model: str) -> None:
    answer = world.cama("run", model, "and then", text="Once upon a time")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()


def test_ps_and_stop(world: World, model: str) -> None:
    world.cama("run", model, "hello")
    loaded = world.cama("ps")
    assert model in loaded.stdout
    assert "100% CPU" in loaded.stdout
    assert world.cama("stop", model).returncode == 0
    assert model not in world.cama("ps").stdout


def test_create_run_list_show_rm(world: World, model: str) -> None:
    modelfile = world.home / "Modelfile"
    modelfile.write_text(f"FROM {model}\nPARAMETER temperature 0\nPARAMETER num_predict 5\n")
    assert world.cama("create", "mine", "-f", str(modelfile)).returncode == 0
    assert "mine:latest" in world.cama("list").stdout
    assert "llama" in world.cama("show", "mine").stdout
    answer = world.cama("run", "mine", "hello")
    assert answer.returncode == 0, answer.stderr
    assert world.cama("rm", "mine").stdout.strip() == "deleted 'mine'"
    assert "mine" not in world.cama("list").stdout


def test_engines_give_the_same_greedy_answer(world: World, tiny_model: Callable[..., Path]) -> None:
    modelfile = world.home / "Modelfile"
    modelfile.write_text(
        f"FROM {tiny_model('qwen3', 'F16')}\nPARAMETER temperature 0\nPARAMETER num_predict 20\n"
    )
    world.cama("create", "mine", "-f", str(modelfile))
    answers = []
    for engine in ("native", "llama"):
        forced = replace(world, port=free_port(), engine=engine)
        answers.append(forced.cama("run", "mine", "Once upon a time").stdout)
        assert f"engine={engine}" in (world.home / ".cama" / "logs" / "server.log").read_text()
    assert answers[0].strip()
    assert answers[0] == answers[1]


def _one_line(world: World, path: Path) -> str:
    result = world.cama("run", str(path), "hello")
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout.strip()
    return errors[0]


def test_truncated_model_is_one_clear_line(world: World, model: str) -> None:
    whole = Path(model).read_bytes()
    for n in (3, 100, 5000, len(whole) // 2):
        path = world.home / "cut.gguf"
        path.write_bytes(whole[:n])
        assert "cut.gguf" in _one_line(world, path)


def test_text_file_is_one_clear_line(world: World) -> None:
    path = world.home / "notes.gguf"
    path.write_text("This is not a model.\n" * 100)
    assert "not a GGUF file" in _one_line(world, path)


def test_missing_file_is_one_clear_line(world: World) -> None:
    assert "missing.gguf" in _one_line(world, world.home / "missing.gguf")
