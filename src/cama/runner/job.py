"""A short-lived child for work that loads native code: its crash ends nobody else."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from cama.core.errors import LoadFailed, RunnerCrashed, RunnerError, from_dict
from cama.core.load import LoadOptions
from cama.runner.environment import child_environment

_KEPT_BYTES = 4096
"""Of what the child wrote to its standard error, from the end."""


def run_job(module: str, request: Mapping[str, Any], load: LoadOptions) -> dict[str, Any]:
    """Run ``python -m module`` with ``request`` on its first line of input; returns its answer.

    The child ends with this process, and at once when this call is interrupted. Raises the error
    that the child answers with, RunnerCrashed when it ends without an answer.
    """
    if not sys.executable:
        raise RunnerError("cannot start a process: the Python interpreter's path is unknown")
    with tempfile.TemporaryFile() as words:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env=child_environment(load, os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise LoadFailed(f"cannot start a process: {error.strerror}") from error
        with process:
            try:
                answer = _exchange(process, request)
            except BaseException:
                process.kill()
                raise
        return _read(answer, process.returncode, words)


def _exchange(process: "subprocess.Popen[bytes]", request: Mapping[str, Any]) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it has ended by itself, and its status tells why
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    return process.stdout.read()  # its input stays open until it has answered


def _read(answer: bytes, status: int, words: IO[bytes]) -> dict[str, Any]:
    try:
        found = json.loads(answer)
        if isinstance(found.get("error"), dict):
            raise from_dict(found["error"])
        done: dict[str, Any] = found["done"]
    except (ValueError, AttributeError, KeyError):
        raise RunnerCrashed(f"the process ended without an answer: {_end(status, words)}") from None
    return done


def _end(status: int, words: IO[bytes]) -> str:
    size = words.seek(0, os.SEEK_END)
    words.seek(max(0, size - _KEPT_BYTES))
    lines = words.read().decode(errors="replace").split("\n")
    said = [line for line in lines if line and not line[0].isspace()]
    with suppress(ValueError):
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"{how} ({said[-1]})" if said else how
    return f"signal {-status}"
