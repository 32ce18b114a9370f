"""Ends a runner whose engine hangs: who waits is told, and the next request starts another one."""

import faulthandler
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("cama.runner")

_LOOKS = 10
"""Within the time that is given; the end comes at most a look later."""

_MOST_SECONDS = 5.0


class Watchdog(threading.Thread):
    """Calls ``on_hang`` when ``pulse`` stands still for ``timeout`` seconds.

    ``pulse`` counts what the engine has done, and is None while there is nothing to do. Should
    native code hold the interpreter as well, so that this thread cannot look, the timer of
    ``faulthandler`` ends the process a little later: it needs no interpreter, and is put off with
    each look that finds nothing wrong.
    """

    def __init__(
        self, pulse: Callable[[], int | None], timeout: float, on_hang: Callable[[], None]
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._pulse = pulse
        self._timeout = timeout
        self._on_hang = on_hang
        self._pause = min(timeout / _LOOKS, _MOST_SECONDS)

    def run(self) -> None:
        seen: int | None = None
        moved_at = time.monotonic()
        while True:
            pulse, now = self._pulse(), time.monotonic()
            if pulse is None or pulse != seen:
                seen, moved_at = pulse, now
                faulthandler.dump_traceback_later(self._timeout + 3 * self._pause, exit=True)
            elif now - moved_at >= self._timeout:
                log.critical("the engine made no progress for %g seconds", self._timeout)
                faulthandler.dump_traceback()
                self._on_hang()
                return
            time.sleep(self._pause)
