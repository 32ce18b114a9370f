"""Jobs: short-lived children that do one piece of heavy or native work, seen from the parent.

A job reads one line of JSON, what it is to do, and writes lines of JSON: how far it is, and at the
end its result or its error. It ends by itself when its parent does.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from cama.core.errors import Cancelled, RunnerCrashed, RunnerError, from_dict
from cama.core.load import LoadOptions
from cama.runner.environment import child_environment, exit_text

Progress = Callable[[str, int, int], None]
"""What is done, how much of it, and how much there is."""

_MAX_LINE = 1 << 20
_LAST_WORDS_BYTES = 4096


def unseen(status: str, completed: int, total: int) -> None:
    """Progress that nobody watches."""


class Jobs:
    """The children of one piece of work, one after the other.

    :meth:`cancel`, from any thread, ends the one that runs, and every later step raises Cancelled.
    """

    def __init__(self, progress: Progress = unseen, n_threads: int = 0) -> None:
        self.progress = progress
        self.n_threads = n_threads
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._running: subprocess.Popen[bytes] | None = None

    def cancel(self) -> None:
        with self._lock:
            self._is_cancelled = True
            if self._running is not None:
                self._running.kill()

    def check(self) -> None:
        """Raises Cancelled when the work is no longer wanted."""
        if self._is_cancelled:
            raise Cancelled("the work was cancelled")

    def run(self, module: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run ``python -m module`` on ``request``; returns its result.

        Raises the error that the job reports, RunnerCrashed when it dies, and Cancelled.
        """
        with tempfile.TemporaryFile() as words, self._started(module, words) as process:
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()  # and stays open: its end would tell that we are gone
            except BrokenPipeError:  # it died at once, and the end of its output will tell why
                pass
            result = self._follow(process)
            code = process.wait()
            self.check()
            if result is None:
                raise RunnerCrashed(_reason(words, code), exit_status=code)
            return result

    @contextmanager
    def _started(self, module: str, words: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        process = self._start(module, words)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
            with self._lock:
                self._running = None

    def _start(self, module: str, words: IO[bytes]) -> subprocess.Popen[bytes]:
        if not sys.executable:
            raise RunnerError(f"cannot start {module}: the Python interpreter's path is unknown")
        with self._lock:
            self.check()
            try:
                self._running = subprocess.Popen(
                    [sys.executable, "-P", "-m", module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=words,
                    env=child_environment(LoadOptions(n_threads=self.n_threads), os.environ),
                    # Ctrl-C in a terminal reaches the parent alone.
                    start_new_session=True,
                )
            except OSError as error:
                raise RunnerError(f"cannot start {module}: {error.strerror}") from error
            return self._running

    def _follow(self, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
        """What the job answers, None when it ends without that."""
        assert process.stdout is not None
        while line := process.stdout.readline(_MAX_LINE):
            match _message(line):
                case {"status": str(status), "completed": int(completed), "total": int(total)}:
                    self.progress(status, completed, total)
                case {"result": dict(result)}:
                    return result
                case {"error": dict(error)}:
                    raise from_dict(error)
        return None


def _message(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _reason(words: IO[bytes], code: int) -> str:
    """How a job ended, and the last thing that it said, which is no frame of a stack trace."""
    words.seek(max(0, words.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
    lines = words.read().decode(errors="replace").splitlines()
    said = next((line for line in reversed(lines) if line and not line[0].isspace()), "")
    return f"the process ended without an answer: {exit_text(code)}{said and f' ({said})'}"
