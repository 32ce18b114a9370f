"""Every outcome of a command becomes an exit status and at most one line of complaint."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cama import __version__
from cama.cli.catalog import COMMANDS
from cama.core.settings import Settings
from tests.unit.cli.conftest import Cama
from tests.unit.client.test_client import unused_port
from tests.unit.client.tiny_server import Answer, TinyServer


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_every_command(cama: Cama, words: tuple[str, ...]) -> None:
    outcome = cama(*words)
    assert (outcome.status, outcome.err) == (0, "")
    assert all(f"  {name} " in outcome.out for name in COMMANDS)


@pytest.mark.parametrize("words", [("run", "--help"), ("help", "run"), ("run", "m", "-h")])
def test_help_of_a_command_lists_flags_and_variables(cama: Cama, words: tuple[str, ...]) -> None:
    outcome = cama(*words)
    assert outcome.status == 0
    assert outcome.out.startswith("Usage: cama run MODEL [PROMPT...] [flags]\n")
    assert "--keepalive DURATION" in outcome.out
    assert "Environment Variables:\n  CAMA_HOST" in outcome.out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run", "--think [=LEVEL] Whether to think first, or how much"),
        ("create", "--quantize LEVEL Quantize the model to this level"),
    ],
)
def test_help_says_what_a_flag_does(cama: Cama, name: str, text: str) -> None:
    assert text in " ".join(cama(name, "--help").out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_command_names_settings_that_exist(cama: Cama, name: str) -> None:
    assert cama(name, "--help").status == 0


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--nope", "unknown flag: --nope"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("xyzzy", 'unknown command "xyzzy" for "cama"'),
        ("lis", 'unknown command "lis" for "cama"\n\nDid you mean this?\n\tlist\n\tls'),
        ("run", "requires at least 1 arg(s), only received 0"),
        ("rm", "requires at least 1 arg(s), only received 0"),
        ("show", "accepts 1 arg(s), received 0"),
        ("show a b", "accepts 1 arg(s), received 2"),
        ("cp a", "accepts 2 arg(s), received 1"),
        ("serve now", "accepts 0 arg(s), received 1"),
        ("serve --idle-exit soon", 'invalid argument "soon" for --idle-exit: must be seconds'),
    ],
)
def test_wrong_command_line_is_one_complaint(cama: Cama, line: str, text: str) -> None:
    outcome = cama(*line.split())
    assert (outcome.status, outcome.out, outcome.err) == (1, "", f"Error: {text}\n")


def test_bad_setting_is_named(cama: Cama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMA_MAX_QUEUE", "many")
    outcome = cama("list")
    assert outcome.status == 1
    assert outcome.err == "Error: CAMA_MAX_QUEUE=many: must be a whole number\n"


def test_version_is_the_servers(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/version", {"version": "0.20.0", "cama": __version__})
    assert cama("-v").out == f"cama version is {__version__}\n"


def test_version_tells_of_a_difference(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/version", {"version": "9.9"})
    assert cama("--version").out == (
        f"cama version is 9.9\nWarning: client version is {__version__}\n"
    )


def test_version_without_a_server_is_the_clients(
    cama: Cama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMA_HOST", f"127.0.0.1:{unused_port()}")
    assert cama("--version").out == (
        "Warning: could not connect to a running Cama instance\n"
        f"Warning: client version is {__version__}\n"
    )


def test_unexpected_error_is_one_line_and_a_log(
    cama: Cama, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "load", lambda: 1 // 0)
    monkeypatch.setattr("cama.cli.main._settings", lambda: Settings(home=home))
    outcome = cama("list")
    log = home / "logs" / "cli.log"
    assert outcome.status == 1
    assert outcome.err == (
        f"Error: unexpected ZeroDivisionError: integer division or modulo by zero (see {log})\n"
    )
    assert "Traceback" in log.read_text()


def test_unexpected_error_shows_its_traceback_when_debugging(
    cama: Cama, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "load", lambda: 1 // 0)
    monkeypatch.setattr("cama.cli.main._settings", lambda: Settings(home=home, debug=True))
    assert "Traceback" in cama("list").err


def test_complaint_cannot_control_the_terminal(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/show", {"error": "no \x1b[31mred"}, status=400)
    assert cama("show", "m").err == "Error: no [31mred\n"


def cama_process(*words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cama", *words]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)


def test_closed_pipe_is_no_error(server: TinyServer) -> None:
    server.answer("/api/show", {"license": "x" * 10**6})
    read_end, write_end = os.pipe()
    os.close(read_end)
    with cama_process("show", "m", "--license", stdout=write_end) as child:
        os.close(write_end)
        _, err = child.communicate()
    assert (child.returncode, err) == (141, b"")


def test_interrupt_is_silent(server: TinyServer) -> None:
    server.answers["/api/show"] = Answer([b'{"error": "x"'], is_endless=True)
    with cama_process("show", "m") as child:
        assert server.was_asked.wait(20)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
    assert (child.returncode, out, err) == (130, b"", b"")
