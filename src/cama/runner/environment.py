"""How a child is started, its command line and its environment, and how it ended."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import cama
from cama.core.errors import RunnerError
from cama.core.load import LoadOptions
from cama.core.settings import SECRETS

_INSTALLED = frozenset({"site-packages", "dist-packages"})


def child_command() -> list[str]:
    """The command line of a runner; ``-P`` keeps the working directory off the import path."""
    if not sys.executable:
        raise RunnerError("cannot start a model runner: the Python interpreter's path is unknown")
    return [sys.executable, "-P", "-m", "cama.runner"]


def child_environment(load: LoadOptions, environ: Mapping[str, str]) -> dict[str, str]:
    """The parent's environment with what must be set before native libraries load, and no secrets.

    What the user has set wins.
    """
    kept = {name: value for name, value in environ.items() if name not in SECRETS}
    return {**_defaults(load), **kept, **_import_path(environ)}


def _defaults(load: LoadOptions) -> dict[str, str]:
    return {
        # libgomp's threads spin at barriers; without a bound they starve all other work.
        "GOMP_SPINCOUNT": "1000",
        "OMP_NUM_THREADS": str(load.n_threads or available_cpus()),
        # NumPy does no matrix products here; its BLAS would start a pool of threads regardless.
        "OPENBLAS_NUM_THREADS": "1",
        # A failed assertion would start a debugger and hold up the end of the process.
        "GGML_NO_BACKTRACE": "1",
    }


def _import_path(environ: Mapping[str, str]) -> dict[str, str]:
    """Let the child import the package from where this process did, a source checkout included."""
    root = Path(cama.__file__).resolve().parent.parent
    if root.name in _INSTALLED:
        return {}
    existing = environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(root), *([existing] if existing else [])])}


def available_cpus() -> int:
    """Processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def exit_text(code: int) -> str:
    """The end of a child, in words."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
