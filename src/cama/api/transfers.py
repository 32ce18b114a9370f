"""Pulls and pushes as answers: each has a thread of its own, and is cancelled with its answer."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from cama.core.errors import Cancelled
from cama.wire.encode import without_empty
from cama.wire.framing import Reply

if TYPE_CHECKING:
    from cama.registry.progress import Progress, Report

_FAREWELL_SECONDS = 2.0
"""How long a cancelled transfer is waited for. It ends at the next byte, or when its wait for one
is over; what it leaves is whole at every moment."""

Tell = Callable[[Reply], None]
Work = Callable[[Tell], None]


async def transfer(
    work: Work, stop: threading.Event, slots: asyncio.Semaphore
) -> AsyncGenerator[Reply, None]:
    """What ``work`` tells of itself; closing this sets ``stop``, by which ``work`` must end."""
    async with slots:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Reply | Exception | None] = asyncio.Queue()

        def put(item: Reply | Exception | None) -> None:
            with suppress(RuntimeError):  # the loop is gone, and with it who waited
                loop.call_soon_threadsafe(queue.put_nowait, item)

        # A daemon: one that waits for a silent registry does not keep the server from ending.
        thread = threading.Thread(target=_run, args=(work, put), daemon=True, name="transfer")
        thread.start()
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()
            await asyncio.to_thread(thread.join, _FAREWELL_SECONDS)


def _run(work: Work, put: Callable[[Reply | Exception | None], None]) -> None:
    try:
        work(put)
    except Cancelled:
        pass  # whoever could be told is gone
    except Exception as error:  # noqa: BLE001 - raised again where the answer is made
        put(error)
    else:
        put(None)


def reporting(tell: Tell) -> "Report":
    """What a registry's progress is told to."""

    def report(progress: "Progress") -> None:
        tell(progress_reply(progress.status, progress.digest, progress.total, progress.completed))

    return report


def progress_reply(status: str, digest: str, total: int, completed: int) -> Reply:
    """A line of progress; counts are about a blob and left out while they are zero."""
    return {"status": status} | without_empty(
        {"digest": digest, "total": total, "completed": completed}
    )
