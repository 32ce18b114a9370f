"""Answers that grow: framed replies as they come, or the same folded into one JSON object.

Work stops as soon as the client is gone: the connection is watched while the answer is made, for a
write to a closed connection may well succeed.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from cama.api.problems import JSON, problem_of
from cama.core.errors import CamaError, ServerUnavailable
from cama.wire.framing import NDJSON, Framing, Reply

_log = logging.getLogger(__name__)


class Answer(Response):
    """Sends ``replies`` as they come, or the only one of them as JSON when not ``stream``.

    An error before the first byte is raised, so that it gets its own status; after that ``framing``
    tells of it and the answer ends there. ``stopping`` breaks it off. However it ends, ``replies``
    is closed before the response is over.
    """

    def __init__(
        self,
        replies: AsyncGenerator[Reply, None],
        *,
        stream: bool,
        stopping: asyncio.Event,
        framing: Framing = NDJSON,
    ) -> None:
        super().__init__(media_type=framing.media_type)
        del self.headers["content-length"]
        self._replies = replies
        self._stream = stream
        self._stopping = stopping
        self._framing = framing
        self._is_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._work(scope, receive, send))
        gone = asyncio.ensure_future(_disconnection(receive))
        stop = asyncio.ensure_future(self._stopped())
        try:
            await asyncio.wait((work, gone, stop), return_when=asyncio.FIRST_COMPLETED)
            is_gone, is_stopped = gone.done(), stop.done()
        finally:
            await _cancelled(work, gone, stop)
        if not work.cancelled():
            work.result()
        elif is_gone:
            _log.info("%s: the client went away, the request is cancelled", scope["path"])
        elif is_stopped:
            await self._break_off(ServerUnavailable("the server is shutting down"), send)

    async def _stopped(self) -> None:
        await self._stopping.wait()

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._replies):
            if self._stream:
                await self._send_frames(send)
            else:
                whole = JSON(await anext(self._replies))
                for name, value in self.headers.items():
                    whole.headers.setdefault(name, value)
                await whole(scope, receive, send)

    async def _send_frames(self, send: Send) -> None:
        first = await anext(self._replies)
        self._is_begun = True
        await send(self._start())
        await send(_part(self._framing.reply(first)))
        try:
            async for reply in self._replies:
                await send(_part(self._framing.reply(reply)))
        except Exception as error:  # noqa: BLE001 - the status is sent: only a frame can tell
            await self._end(send, self._framing.problem(problem_of(error)))
        else:
            await self._end(send, self._framing.end)

    async def _break_off(self, error: CamaError, send: Send) -> None:
        if not self._is_begun:
            raise error
        await self._end(send, self._framing.problem(problem_of(error)))

    async def _end(self, send: Send, last: bytes) -> None:
        await send({"type": "http.response.body", "body": last, "more_body": False})

    def _start(self) -> Message:
        return {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _disconnection(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
