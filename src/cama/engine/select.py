"""Which engine runs a model: the native one where it has a definition, else libllama."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from cama.core.errors import InvalidModelFile, LoadFailed, UnsupportedModel
from cama.core.load import LoadOptions
from cama.engine.base import Engine

log = logging.getLogger(__name__)


def open_engine(path: Path, load: LoadOptions, progress: Callable[[float], None]) -> Engine:
    """Open a model with the engine that suits it, and log which and why in one line.

    ``load.engine`` forces one. Raises ModelNotFound, InvalidModelFile, UnsupportedModel or
    LoadFailed.
    """
    started = time.perf_counter()
    engine = _open(path, load, progress)
    info = engine.info
    log.info(
        "engine=%s architecture=%s context=%d cells=%d threads=%d load=%.0fms reason=%r model=%s",
        *(info.engine, info.architecture, info.n_ctx, info.n_cells, info.n_threads),
        *((time.perf_counter() - started) * 1000, info.reason, path.name),
    )
    return engine


def _open(path: Path, load: LoadOptions, progress: Callable[[float], None]) -> Engine:
    reason = "forced by the setting"
    if load.engine == "auto" and load.projector is not None:
        reason = "libllama's libmtmd runs the projector"
    elif load.engine != "llama":
        from cama.engine.native.open import open_native

        is_forced = load.engine == "native"
        reason = reason if is_forced else "the native engine defines this architecture"
        try:
            return open_native(path, load, reason, progress)
        except (UnsupportedModel, InvalidModelFile) as error:
            # what a definition misses may be there in an older form, which libllama knows
            if is_forced:
                raise
            reason = error.message
    try:
        return _open_llama(path, load, reason, progress)
    except LoadFailed as error:
        if load.engine == "llama":
            raise
        raise LoadFailed(f"{error.message} (nor natively: {reason})", **error.fields) from error


def _open_llama(
    path: Path, load: LoadOptions, reason: str, progress: Callable[[float], None]
) -> Engine:
    from cama.engine.llama.encoder import LlamaEncoder, only_embeds
    from cama.engine.llama.engine import LlamaEngine

    if only_embeds(path):
        return LlamaEncoder.open(path, load, reason, progress)
    return LlamaEngine.open(path, load, reason, progress)
