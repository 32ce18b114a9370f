"""A runner's operating system process, seen from the parent: its pipes, its last words, its end."""

import asyncio
import json
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Self

from cama.core.errors import LoadFailed
from cama.runner.environment import child_command, child_environment, exit_text
from cama.runner.protocol import RunnerConfig
from cama.runner.stderr import LastWords, follow

log = logging.getLogger("cama.runner")

GRACE_SECONDS = 5.0
"""How long a runner may take to end when asked, before it is killed."""

LAST_WORDS_SECONDS = 0.5
"""How long standard error is read on after the end; a grandchild could hold it open."""


class ChildProcess:
    """A started runner. It is always reaped, whoever forgets it."""

    def __init__(self, process: Process) -> None:
        assert process.stderr is not None
        self._process = process
        self._words = LastWords()
        self._stderr = asyncio.create_task(follow(process.stderr, process.pid, self._words))
        self._end = asyncio.create_task(self._watch())

    @classmethod
    async def start(cls, config: RunnerConfig, command: list[str] | None = None) -> Self:
        """Start a runner and hand it its configuration. Raises LoadFailed."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(command or child_command()),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=child_environment(config.load, os.environ),
                # Ctrl-C in a terminal reaches the server alone.
                start_new_session=True,
            )
        except OSError as error:
            raise LoadFailed(f"cannot start a model runner: {error.strerror}") from error
        assert process.stdin is not None
        process.stdin.write(json.dumps(config.to_json()).encode() + b"\n")
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def port(self) -> int | None:
        """The port that the runner listens on; None when it ended without naming one."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        try:
            return int(json.loads(line)["port"]) if line else None
        except (ValueError, LookupError, TypeError):
            raise LoadFailed(f"the model runner said {line[:80]!r} instead of its port") from None

    async def wait(self, seconds: float) -> bool:
        """Wait for the end, but not longer than ``seconds``; says whether it came."""
        done, _ = await asyncio.wait({self._end}, timeout=seconds)
        return bool(done)

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Ask the process to end, kill it when it does not, and reap it."""
        self._signal(signal.SIGTERM)
        if not await self.wait(grace):
            log.warning("[%d] does not end when asked: killed", self.pid)
            await self.kill()

    async def kill(self) -> None:
        """End the process at once and reap it."""
        if self.alive:
            self._process.kill()
        await asyncio.shield(self._end)

    @property
    def reason(self) -> str:
        """Why the process ended, in words: its last error line, or how it exited."""
        code = self._process.returncode
        if code is None:
            return "no longer answers"
        # What was said long before an outside kill did not cause it.
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            return exit_text(code)
        return self._words.error or exit_text(code)

    @property
    def last_error(self) -> str | None:
        return self._words.error

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _watch(self) -> None:
        code = await self._process.wait()
        _, pending = await asyncio.wait({self._stderr}, timeout=LAST_WORDS_SECONDS)
        for task in pending:
            task.cancel()
        log.debug("[%d] ended: %s", self.pid, exit_text(code))
