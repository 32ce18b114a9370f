"""The child's side of a job: one request in, progress and one answer out."""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from cama.core.errors import CamaError
from cama.core.log import configure
from cama.runner.stdin import exit_with_parent

Report = Callable[[str, int, int], None]
"""Tells the parent what is done, how much of it, and how much there is."""

Work = Callable[[Mapping[str, Any], Report], Mapping[str, Any]]

_REPORT_SECONDS = 0.05


def main(work: Work) -> None:
    """Do ``work`` on the request in standard input, and answer with its result or its error.

    ``target`` in a request is the file that the work writes: it goes when the parent does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    request = json.loads(sys.stdin.buffer.readline())
    exit_with_parent(lambda: _discard(request.get("target")))
    configure(debug=False)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # native code may print
    try:
        answer: Mapping[str, Any] = {"result": dict(work(request, _Reporter(answers)))}
    except CamaError as error:
        answer = {"error": error.to_dict()}
    except MemoryError:
        answer = {"error": CamaError("there is not enough memory for this").to_dict()}
    print(json.dumps(answer), file=answers, flush=True)


class _Reporter:
    """Reports as often as an eye can follow; the first and the last of a status always."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._status = ""
        self._next = 0.0

    def __call__(self, status: str, completed: int, total: int) -> None:
        now = time.monotonic()
        if status == self._status and completed < total and now < self._next:
            return
        self._status, self._next = status, now + _REPORT_SECONDS
        message = {"status": status, "completed": completed, "total": total}
        print(json.dumps(message), file=self._out, flush=True)


def _discard(target: Any) -> None:
    if isinstance(target, str):
        try:
            Path(target).unlink(missing_ok=True)
        except OSError as error:
            logging.getLogger(__name__).warning("%s stays: %s", target, error.strerror)
