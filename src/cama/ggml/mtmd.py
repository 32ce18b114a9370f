"""The one libmtmd of this process: projectors, and what they make of pictures."""

import functools
import os
from pathlib import Path

from cama.core.errors import LoadFailed
from cama.ggml._mtmd_abi import Mtmd, mtmd_context_params
from cama.ggml.library import library_path, silent_log
from cama.ggml.llama import llama
from cama.ggml.log import kept_errors, reason


@functools.cache
def mtmd() -> Mtmd:
    """The loaded library, silent. Raises LibraryMismatch when it is not there."""
    llama()  # it asks for that one, which must not be loaded twice
    library = Mtmd([library_path("mtmd")])
    library.mtmd_log_set(silent_log(), None)
    return library


def load_projector(path: Path, model: int, params: mtmd_context_params) -> int:
    """The address of a projector for ``model``. Raises LoadFailed with libmtmd's own reason."""
    with kept_errors(mtmd().mtmd_log_set) as lines:
        projector = mtmd().mtmd_init_from_file(os.fsencode(path), model, params)
    if not projector:
        raise LoadFailed(
            f"cannot load the projector {path.name}: {reason(lines)}", path=str(path), log=lines
        )
    return projector
