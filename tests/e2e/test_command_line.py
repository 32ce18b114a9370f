"""The command line from end to end: a server of its own, answers, and errors a user can act on."""

from dataclasses import replace
from pathlib import Path

import pytest

from cama.store.bundled import FOLDER
from tests.e2e.conftest import IMPORT, LOADED, World, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.native]


def test_fresh_machine_gets_a_sensible_answer_and_no_store(world: World) -> None:
    first = world.cama("run", "guide", IMPORT.question)
    assert first.returncode == 0, first.stderr
    assert IMPORT.key in first.stdout
    assert str(world.port) in first.stderr
    second = world.cama("run", "guide", LOADED.question)
    assert LOADED.key in second.stdout
    assert "server" not in second.stderr
    assert not (world.home / ".ollama").exists()


def test_run_reads_a_prompt_from_a_pipe(world: World) -> None:
    answer = world.cama("run", "guide", text=IMPORT.question)
    assert answer.returncode == 0, answer.stderr
    assert IMPORT.key in answer.stdout


def test_ps_and_stop(world: World) -> None:
    world.cama("run", "guide", "hello")
    loaded = world.cama("ps").stdout
    assert "guide:latest" in loaded
    assert "100% CPU" in loaded
    assert "native" in loaded
    assert world.cama("stop", "guide").returncode == 0
    assert "guide" not in world.cama("ps").stdout


def test_bundled_model_is_listed_and_shown_and_stays(world: World) -> None:
    assert "guide:latest" in world.cama("list").stdout
    shown = world.cama("show", "guide").stdout
    assert "llama" in shown
    assert "Q8_0" in shown
    for refused in (("rm", "guide"), ("cp", "guide", "mine")):
        result = world.cama(*refused)
        assert result.returncode == 1
        assert "part of Cama" in result.stderr
    assert "guide:latest" in world.cama("list").stdout


def test_create_run_list_show_rm(world: World) -> None:
    modelfile = world.home / "Modelfile"
    modelfile.write_text("FROM guide\nPARAMETER num_predict 8\n")
    assert world.cama("create", "mine", "-f", str(modelfile)).returncode == 0
    assert "mine:latest" in world.cama("list").stdout
    shown = world.cama("show", "mine").stdout
    assert "num_predict" in shown
    assert "temperature" in shown  # what the file recommends goes with it
    answer = world.cama("run", "mine", IMPORT.question)
    assert answer.returncode == 0, answer.stderr
    assert 0 < len(answer.stdout.strip()) < len(world.cama("run", "guide", IMPORT.question).stdout)
    assert world.cama("rm", "mine").stdout.strip() == "deleted 'mine'"
    assert "mine" not in world.cama("list").stdout


def test_a_model_of_the_store_goes_before_the_bundled_one(world: World) -> None:
    modelfile = world.home / "Modelfile"
    modelfile.write_text("FROM guide\nSYSTEM Be kind.\n")
    assert world.cama("create", "guide", "-f", str(modelfile)).returncode == 0
    assert world.cama("list").stdout.count("guide:latest") == 1
    assert "Be kind." in world.cama("show", "--system", "guide").stdout
    assert world.cama("rm", "guide").returncode == 0
    assert "Be kind." not in world.cama("show", "--modelfile", "guide").stdout


def test_engines_give_the_same_greedy_answer(world: World) -> None:
    answers = []
    for engine in ("native", "llama"):
        forced = replace(world, port=free_port(), engine=engine)
        answers.append(forced.cama("run", "guide", IMPORT.question).stdout)
        assert f"engine={engine}" in (world.home / ".cama" / "logs" / "server.log").read_text()
    assert IMPORT.key in answers[0]
    assert answers[0] == answers[1]


def _one_line(world: World, path: Path) -> str:
    result = world.cama("run", str(path), "hello")
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout.strip()
    return errors[0]


def test_truncated_model_is_one_clear_line(world: World) -> None:
    whole = (FOLDER / "guide.gguf").read_bytes()
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
