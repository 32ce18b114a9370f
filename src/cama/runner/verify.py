"""Both engines on one text, each in a child of its own, and how far they are apart."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cama.core.comparison import Comparison, LogitComparison, VectorComparison
from cama.core.errors import EngineError
from cama.core.load import LoadOptions
from cama.runner.jobs import Jobs

_MODULE = "cama.runner.verifying"

MAX_TOKENS = 4096
"""Logits of so many tokens, for a vocabulary of 256k, take 4 GiB of disk for each engine."""

Side = Literal["native", "llama"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Who was compared, and what came out."""

    architecture: str
    engine: Side
    reference: Side
    comparison: Comparison


def verify(
    path: Path,
    text: str,
    *,
    engine: Side = "native",
    reference: Side = "llama",
    limit: int = 512,
    load: LoadOptions | None = None,
) -> Verification:
    """Compare ``engine`` with ``reference`` on the first ``limit`` tokens of ``text``.

    ``load`` gives threads and the type of the cache. Raises what opening the model raises, and
    EngineError where the engines read the text as different tokens.
    """
    load = load or LoadOptions()
    with tempfile.TemporaryDirectory(prefix="cama-verify-") as folder:
        ours, theirs = Path(folder) / "ours.npy", Path(folder) / "reference.npy"
        run = partial(_evaluate, path, text, limit, load)
        first, second = run(engine, ours), run(reference, theirs)
        if first["ids"] != second["ids"]:
            raise EngineError("the engines read the text as different tokens")
        request = {
            "ours": str(ours),
            "reference": str(theirs),
            "ids": first["ids"],
            "n_decoded": first["n_decoded"],
        }
        figures = Jobs(n_threads=load.n_threads).run(_MODULE, request)
    kind = LogitComparison if first["ids"] else VectorComparison
    return Verification(
        architecture=first["architecture"],
        engine=engine,
        reference=reference,
        comparison=kind(**figures),
    )


def _evaluate(
    path: Path, text: str, limit: int, load: LoadOptions, engine: Side, out: Path
) -> Mapping[str, Any]:
    options = {
        "n_ctx": limit,
        "n_threads": load.n_threads,
        "n_gpu_layers": load.n_gpu_layers,
        "cache_type": load.cache_type,
        "n_parallel": 1,
        "engine": engine,
    }
    request = {
        "model": str(path),
        "load": options,
        "text": text,
        "limit": limit,
        "out": str(out),
    }
    return Jobs(n_threads=load.n_threads).run(_MODULE, request)
