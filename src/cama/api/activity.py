"""When the server last had something to do."""

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class Activity:
    """Wraps an application and notes when it answers requests."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._active = 0
        self._since = clock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._active -= 1
            self.touch()

    def touch(self) -> None:
        """Count the present as busy."""
        self._since = self._clock()

    @property
    def idle_seconds(self) -> float:
        """For how long there has been no request; 0 while there is one."""
        return 0.0 if self._active else self._clock() - self._since
