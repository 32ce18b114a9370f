"""The server process: listen, serve until told to stop, unload the models."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from cama import __version__
from cama.api.activity import Activity
from cama.api.app import create_app
from cama.api.connection import Connection
from cama.api.gate import keys_of
from cama.api.hosts import is_loopback
from cama.core.errors import CamaError, InvalidSetting
from cama.core.settings import Address, Settings
from cama.runner.handle import start_runner
from cama.scheduler.scheduler import Scheduler
from cama.store.pruning import Pruned
from cama.store.store import Store

_log = logging.getLogger(__name__)

_GRACE_SECONDS = 3
"""How long running answers may go on when the server is told to stop."""

_BREAK_OFF_SECONDS = 2
"""How long they then have to say so and end."""

_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_POLL_SECONDS = 0.25


def serve(settings: Settings, *, idle_exit: float | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then unload the models.

    With ``idle_exit`` it also ends when for that many seconds no model was loaded and no request
    came. Raises InvalidSetting when it cannot listen, and on bad origins.
    """
    _borrow_log()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host))
        stack.enter_context(_quiet_signals())
        runner = stack.enter_context(asyncio.Runner(loop_factory=_loop_factory()))
        runner.run(_serve(settings, listener, idle_exit))


async def _serve(settings: Settings, listener: socket.socket, idle_exit: float | None) -> None:
    start = partial(
        start_runner, prefixes=settings.prefix_folder, stall_timeout=settings.stall_timeout
    )
    scheduler = Scheduler(settings, start=start)
    store = Store.of(settings)
    app = create_app(settings, store, scheduler)
    activity = Activity(app)
    server = uvicorn.Server(_config(activity))
    _announce(settings, _bound(listener))

    async def watch() -> None:
        await _stop_when_idle(server, activity, scheduler, idle_exit)
        await asyncio.sleep(_GRACE_SECONDS)
        app.state.services.stopping.set()

    watching = asyncio.create_task(watch())
    tidying = asyncio.create_task(asyncio.to_thread(_tidy, settings, store))
    try:
        await server.serve(sockets=[listener])
        await tidying
    finally:
        watching.cancel()
    if not server.started:
        raise CamaError("the server could not start, see its log")
    _log.info("stopped")


def _tidy(settings: Settings, store: Store) -> None:
    """Remove what the store has no more use for; a failure is no reason not to serve."""
    try:
        store.rename_old()
        pruned = Pruned() if settings.no_prune else store.prune()
    except CamaError as error:
        _log.warning("the store was not tidied: %s", error.message)
        return
    if pruned.n_files:
        _log.info("removed %d unused files of %d bytes", pruned.n_files, pruned.n_bytes)


def _announce(settings: Settings, bound: Address) -> None:
    _log.info(
        "listening on %s version=%s models=%s", bound.literal_url, __version__, settings.models
    )
    if not is_loopback(bound.host) and not keys_of(settings):
        _log.warning("open to the network without API keys: who reaches it can use it")


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS + _BREAK_OFF_SECONDS,
    )


async def _stop_when_idle(
    server: uvicorn.Server, activity: Activity, scheduler: Scheduler, limit: float | None
) -> None:
    """Return when ``server`` ends, and end it once nothing has happened for ``limit`` seconds."""
    while not server.should_exit:
        await asyncio.sleep(min(_POLL_SECONDS, limit or _POLL_SECONDS))
        if not scheduler.idle:
            activity.touch()
        elif limit is not None and activity.idle_seconds >= limit:
            _log.info("idle for %g s, stopping", limit)
            server.should_exit = True


@contextmanager
def listen(address: Address) -> Iterator[socket.socket]:
    """A listening socket. Raises InvalidSetting when the address is taken or not ours."""
    try:
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _cannot_listen(address, error) from error
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise _cannot_listen(address, error) from error
        yield listener


def _cannot_listen(address: Address, error: OSError) -> InvalidSetting:
    reason = (error.strerror or str(error)).lower()
    return InvalidSetting(
        f"listen tcp {address.host}:{address.port}: bind: {reason}", variable="CAMA_HOST"
    )


def _bound(listener: socket.socket) -> Address:
    """Where it listens: a name is resolved, and a port of 0 is the one that the system chose."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Let a signal that stopped the server end there.

    uvicorn raises it again when it is done, for handlers that were there before it: these.
    """

    def ignore(number: int, frame: FrameType | None) -> None:
        pass

    before = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def _borrow_log() -> None:
    """uvicorn's warnings go where Cama's lines go."""
    log = logging.getLogger("uvicorn")
    log.handlers[:] = logging.getLogger("cama").handlers
    log.setLevel(logging.WARNING)
    log.propagate = False
