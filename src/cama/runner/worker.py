"""The child's side of a runner: one process, one model, one engine thread, one HTTP server."""

import asyncio
import faulthandler
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NoReturn

import uvicorn

from cama.core.log import configure
from cama.runner.app import App
from cama.runner.drafting import OpenEngine
from cama.runner.engine_thread import EngineThread, MakeLoop
from cama.runner.outbox import Outbox
from cama.runner.protocol import RunnerConfig
from cama.runner.stdin import ORPHANED, exit_with_parent
from cama.runner.watchdog import Watchdog

log = logging.getLogger("cama.runner")

SWITCH_SECONDS = 0.0002
"""How long the event loop may keep the GIL while the engine thread waits for it.

The default of 5 ms, several times a step, is what a busy event loop would cost each token.
"""

STOP_SECONDS = 3.0
FAILURE_READ_SECONDS = 0.2
FAILURE_UNREAD_SECONDS = 10.0
CRASHED = 70


def main(*, open_engine: OpenEngine, make_loop: MakeLoop) -> NoReturn:
    """Run a runner until its parent ends it; never returns.

    ``open_engine`` and ``make_loop`` are called on the engine thread.
    """
    config = _read_config()
    exit_with_parent()
    configure(debug=config.debug)
    faulthandler.enable()
    threading.excepthook = _end_after_bug
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    sys.setswitchinterval(SWITCH_SECONDS)
    listener = _listen()
    engine = EngineThread(config, open_engine, make_loop, on_failure=_leave_unread)
    engine.start()
    if config.stall_timeout > 0:
        Watchdog(engine.pulse, config.stall_timeout, on_hang=partial(_leave, CRASHED)).start()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config, engine, listener))
    _leave(0)


def _read_config() -> RunnerConfig:
    line = sys.stdin.buffer.readline()
    if not line:
        _leave(ORPHANED)
    return RunnerConfig.from_json(json.loads(line))


def _listen() -> socket.socket:
    """Listen on a free port of loopback and tell the parent which."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)  # noqa: T201
    # What native code prints belongs into the log.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return listener


async def _serve(config: RunnerConfig, engine: EngineThread, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, _stop, engine)
    app = App(
        config.secret,
        engine,
        Outbox(loop),
        on_failure_told=lambda: _leave_later(loop, FAILURE_READ_SECONDS),
    )
    await _Server(_http_config(app)).serve(sockets=[listener])


def _http_config(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        lifespan="off",
        proxy_headers=False,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
    )


class _Server(uvicorn.Server):
    """A server that leaves signals to the worker."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _stop(engine: EngineThread) -> None:
    """End in order: no answer is awaited, but native memory is given back where that is quick."""
    engine.stop()
    engine.join(STOP_SECONDS)
    _leave(0)


def _leave_unread() -> None:
    """Nobody may ask why the load failed; this process must not wait for ever."""
    threading.Timer(FAILURE_UNREAD_SECONDS, _leave, (1,)).start()


def _leave_later(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    loop.call_later(seconds, _leave, 1)


def _end_after_bug(args: threading.ExceptHookArgs) -> None:
    """A thread that fails leaves a runner that would never answer: end it, so that all know."""
    name = args.thread.name if args.thread else "unknown"
    error = args.exc_value or args.exc_type()
    log.critical("the %s thread failed", name, exc_info=error)
    _leave(CRASHED)


def _leave(status: int) -> NoReturn:
    """Exit without the interpreter's finalization: the engine thread may be in native code."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)
