"""Whether a loaded model answers a request as it would if it were loaded for that request."""

from cama.core.load import LoadOptions
from cama.runner.protocol import RunnerInfo


def serves(loaded: LoadOptions, info: RunnerInfo, wanted: LoadOptions) -> bool:
    """Whether a runner started with ``loaded`` serves a request for ``wanted``.

    What the request leaves to us never costs a reload; an automatic context must only not come out
    smaller than it would.
    """
    return (
        _context_serves(loaded, wanted, info.n_ctx_train)
        and wanted.n_cells in (0, loaded.n_cells)
        and wanted.n_threads in (0, loaded.n_threads)
        and (wanted.n_gpu_layers < 0 or wanted.n_gpu_layers == loaded.n_gpu_layers)
        and wanted.engine in ("auto", loaded.engine, info.engine)
        and wanted.draft in (None, loaded.draft)
        and wanted.projector in (None, loaded.projector)
        and (loaded.adapts_experts or not wanted.adapts_experts or info.engine == "llama")
        and _fixed(wanted) == _fixed(loaded)
    )


def _context_serves(loaded: LoadOptions, wanted: LoadOptions, n_ctx_train: int) -> bool:
    has, needs = loaded.context_for(n_ctx_train), wanted.context_for(n_ctx_train)
    return has == needs if wanted.n_ctx else has >= needs


def _fixed(load: LoadOptions) -> tuple[int, int, bool]:
    """Options that have no automatic value."""
    return load.n_batch, load.n_parallel, load.use_mmap
