"""How many threads compute when nobody says."""

import os

import psutil


def default_threads() -> int:
    """Physical cores that this process may use: a second hardware thread per core slows ggml."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, psutil.cpu_count(logical=False) or 1))
