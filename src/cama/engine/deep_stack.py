"""Native work that recurses as deep as its input is long, on a stack deep enough for it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cama.core.errors import EngineError

_MOST_BYTES = 2**31

_size = threading.Lock()  # the size for new threads is one setting of the process

Result = TypeVar("Result")


def on_deep_stack(work: Callable[[], Result], n_bytes: int) -> Result:
    """Run ``work`` on a thread with a stack of ``n_bytes``, at most 2 GiB, and wait for it.

    Only what it touches becomes memory. Raises EngineError when the thread cannot start.
    """
    n_bytes = min(n_bytes, _MOST_BYTES)
    with ThreadPoolExecutor(1, thread_name_prefix="deep-stack") as executor:
        with _size:
            previous = threading.stack_size(n_bytes)
            try:
                result = executor.submit(work)
            except RuntimeError as error:
                raise EngineError(f"no memory for a stack of {n_bytes} bytes: {error}") from None
            finally:
                threading.stack_size(previous)
        return result.result()
