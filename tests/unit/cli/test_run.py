"""``run`` with a prompt."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cama.cli.run import question
from cama.cli.timings import timing_lines
from cama.core.errors import InvalidOption
from tests.unit.cli.conftest import Cama, Outcome
from tests.unit.client.tiny_server import Answer, TinyServer

FINAL = {
    "response": "",
    "done": True,
    "total_duration": 4_648_158_584,
    "load_duration": 4_071_084,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 439_038_000,
    "eval_count": 180,
    "eval_duration": 4_196_918_000,
}

TIMINGS = """\
total duration:       4.648158584s
load duration:        4.071084ms
prompt eval count:    26 token(s)
prompt eval duration: 439.038ms
prompt eval rate:     59.22 tokens/s
eval count:           180 token(s)
eval duration:        4.196918s
eval rate:            42.89 tokens/s
"""


@pytest.fixture
def model(server: TinyServer) -> TinyServer:
    """A server with a model that says hello."""
    server.answer("/api/show", {"capabilities": ["completion"]})
    server.answer("/api/generate", {"response": "Hel"}, {"response": "lo"}, FINAL)
    return server


def run(*words: str, piped: str = "") -> Outcome:
    """Run ``cama run`` in a process, with a pipe for standard input."""
    command = [sys.executable, "-m", "cama", "run", *words]
    result = subprocess.run(command, input=piped.encode(), capture_output=True, check=False)
    return Outcome(result.returncode, result.stdout.decode(), result.stderr.decode())


def test_run_prints_the_answer_and_two_line_breaks(model: TinyServer) -> None:
    outcome = run("m", "say", "hello")
    assert outcome == Outcome(0, "Hello\n\n", "")
    assert model.bodies("/api/generate") == [{"model": "m", "prompt": "say hello", "options": {}}]


def test_run_puts_what_is_piped_before_the_arguments(model: TinyServer) -> None:
    run("m", "in", "short", piped="text\n")
    assert model.bodies("/api/generate")[0]["prompt"] == "text\n in short"


def test_run_with_an_empty_prompt_only_loads(model: TinyServer) -> None:
    model.answer("/api/generate", {"response": "", "done": True, "done_reason": "load"})
    assert run("m", "") == Outcome(0, "", "")
    assert model.bodies("/api/generate")[0]["prompt"] == ""


def test_run_shows_timings_when_verbose(model: TinyServer) -> None:
    assert run("m", "hi", "--verbose") == Outcome(0, "Hello\n\n", TIMINGS)


def test_run_passes_its_flags_on(model: TinyServer) -> None:
    run("m", "hi", "--format", "json", "--think=low", "--keepalive", "1h30m")
    body = model.bodies("/api/generate")[0]
    assert (body["format"], body["think"], body["keep_alive"]) == ("json", "low", "1h30m")


def test_run_takes_a_schema_as_format(model: TinyServer) -> None:
    run("m", "hi", "--format", '{"type": "object"}')
    assert model.bodies("/api/generate")[0]["format"] == {"type": "object"}


def test_run_reads_a_schema_from_a_file(model: TinyServer, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object", "title": "Größe"}', "utf-8")
    run("m", "hi", "--format", f"@{file}")
    assert model.bodies("/api/generate")[0]["format"] == {"type": "object", "title": "Größe"}


def test_run_lets_a_thinking_model_think(model: TinyServer) -> None:
    model.answer("/api/show", {"capabilities": ["completion", "thinking"]})
    model.answer("/api/generate", {"thinking": "hm", "response": ""}, {"response": "42"})
    assert run("m", "hi").out == "Thinking...\nhm\n...done thinking.\n\n42\n\n"
    assert model.bodies("/api/generate")[0]["think"] is True


def test_run_takes_a_grammar_as_it_is_or_from_a_file(model: TinyServer, tmp_path: Path) -> None:
    file = tmp_path / "answer.gbnf"
    file.write_text('root ::= "größer"', "utf-8")
    run("m", "hi", "--grammar", 'root ::= "yes"')
    run("m", "hi", "--grammar", f"@{file}")
    sent = [body["grammar"] for body in model.bodies("/api/generate")]
    assert sent == ['root ::= "yes"', 'root ::= "größer"']


def test_run_sends_a_file_by_its_absolute_path(model: TinyServer, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.touch()
    run(str(file), "hi")
    assert model.bodies("/api/show")[0]["model"] == str(file)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ["--think=lots"],
            'invalid value for --think: "lots" (must be true, false, high, medium, low, or max)',
        ),
        (["--keepalive", "5"], '--keepalive: time: missing unit in duration "5"'),
        (["--format", "xml"], "--format must be json or a JSON schema, not 'xml'"),
        (["--format", "@/no/file"], "--format: /no/file: No such file or directory"),
        (["--format", "@/"], "--format: /: Is a directory"),
        (["--grammar", "@/no/file"], "--grammar: /no/file: No such file or directory"),
    ],
)
def test_run_refuses_bad_flags(cama: Cama, flags: list[str], text: str) -> None:
    outcome = cama("run", "m", "hi", *flags)
    assert (outcome.status, outcome.err) == (1, f"Error: {text}\n")


def test_run_of_a_model_that_is_nowhere_says_so(server: TinyServer) -> None:
    server.answer("/api/show", {"error": "model 'm' not found"}, status=404)
    error = "pull model manifest: file does not exist"
    server.answer("/api/pull", {"status": "pulling manifest"}, {"error": error})
    assert run("m", "hi") == Outcome(1, "", f"pulling manifest\nError: {error}\n")
    assert server.bodies("/api/pull") == [{"model": "m", "insecure": False}]


def test_run_of_a_missing_file_is_one_line() -> None:
    assert run("./m.gguf", "hi") == Outcome(1, "", "Error: no such model file: ./m.gguf\n")


def test_run_shows_the_status_of_a_refused_stream(model: TinyServer) -> None:
    model.answer("/api/generate", {"error": '"m" does not support generate'}, status=400)
    outcome = run("m", "hi")
    assert outcome == Outcome(1, "", 'Error: 400 Bad Request: "m" does not support generate\n')


def test_run_keeps_what_came_before_an_error(model: TinyServer) -> None:
    model.answer("/api/generate", {"response": "Hel"}, {"error": "the runner died"})
    assert run("m", "hi") == Outcome(1, "Hel", "Error: the runner died\n")


def test_interrupted_run_cancels_and_ends_well(model: TinyServer) -> None:
    line = json.dumps({"response": "x"}).encode() + b"\n"
    model.answers["/api/generate"] = Answer([line], is_endless=True)
    command = [sys.executable, "-m", "cama", "run", "m", "hi"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
    assert (child.returncode, err) == (0, b"")
    assert out.endswith(b"\n")
    assert model.was_left.wait(20)


def test_question_that_is_not_text_is_an_error() -> None:
    with pytest.raises(InvalidOption, match="not UTF-8"):
        question(["hi"], io.TextIOWrapper(io.BytesIO(b"\xff")))


def test_question_of_a_terminal_is_its_arguments() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert question(["a", "b"], Terminal()) == "a b"
    assert question([], Terminal()) is None


@pytest.mark.parametrize("metrics", [{}, {"eval_count": 0, "eval_duration": 0}])
def test_timings_leave_out_zeros(metrics: dict[str, Any]) -> None:
    assert timing_lines(metrics) == ""


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"miss_reason": "new"}, "12 token(s) (new)"),
        ({"miss_reason": "diverged", "diverged_at": 12}, "12 token(s) (diverged at 12)"),
        ({"miss_reason": "not_resumable"}, "12 token(s) (not resumable)"),
        ({"restored_count": 10}, "12 token(s), 10 from disk"),
    ],
)
def test_timings_tell_what_of_the_prompt_was_cached(facts: dict[str, Any], line: str) -> None:
    final = {"prompt_cached_count": 12, "cama": facts}
    assert timing_lines(final) == f"prompt cache:         {line}\n"


def test_timings_tell_what_was_guessed() -> None:
    final = {"prompt_cached_count": 0, "cama": {"proposed_count": 12, "accepted_count": 9}}
    assert timing_lines(final).splitlines()[1] == "guessed ahead:        12 token(s), 9 right"


def test_run_prints_the_vector_of_an_embedding_model(server: TinyServer) -> None:
    server.answer("/api/show", {"capabilities": ["embedding"]})
    server.answer("/api/embed", {"model": "m", "embeddings": [[0.25, -1e-07]]})
    assert run("m", "--keepalive", "1m", "some", "text") == Outcome(0, "[0.25,-1e-07]\n", "")
    assert server.bodies("/api/embed") == [
        {"model": "m", "input": "some text", "options": {}, "keep_alive": "1m"}
    ]


def test_an_embedding_model_needs_a_text(server: TinyServer) -> None:
    server.answer("/api/show", {"capabilities": ["embedding"]})
    outcome = run("m")
    assert (outcome.status, outcome.out) == (1, "")
    assert 'embedding models require input text. Usage: cama run m "your text here"' in outcome.err
    assert not server.bodies("/api/embed")
