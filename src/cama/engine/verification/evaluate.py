"""An engine's logits or vectors of a text, into a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cama.core.errors import EngineError, InvalidRequest
from cama.engine.base import Embeds, Engine, Plan, SeqId, Span

MAX_TEXTS = 64
_CHUNK = 128
_DECODED = 32
"""Tokens at the end of a text that are read one by one, as answers are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was computed: float32 rows, one for each of ``ids`` or one for each text."""

    engine: str
    reason: str
    architecture: str
    ids: list[int]
    n_decoded: int


def evaluate(
    engine: Engine, text: str, limit: int, out: Path, *, as_vectors: bool = False
) -> Evaluation:
    """Write the rows of up to ``limit`` tokens of ``text`` to ``out``, a file of NumPy.

    ``as_vectors``: one row for each line of ``text``, as of a model that does not generate.

    Raises InvalidRequest for a text that is too short, EngineError for rows that are no numbers.
    """
    if engine.info.generates and not as_vectors:
        ids = _ids(engine, text, min(limit, engine.info.n_ctx))
        n_decoded = min(_DECODED, len(ids) // 2)
        _write_logits(engine, ids, n_decoded, out)
    else:
        ids, n_decoded = [], 0
        _write_vectors(engine, text, out)
    info = engine.info
    return Evaluation(
        engine=info.engine,
        reason=info.reason,
        architecture=info.architecture,
        ids=ids,
        n_decoded=n_decoded,
    )


def _ids(engine: Engine, text: str, limit: int) -> list[int]:
    ids = engine.tokenizer.encode(text, add_special=True, parse_special=False)[:limit]
    if len(ids) < 2:
        raise InvalidRequest("a text to compare on needs at least two tokens")
    return ids


def _write_logits(engine: Engine, ids: Sequence[int], n_decoded: int, out: Path) -> None:
    n_read, n_batch = len(ids) - n_decoded, min(_CHUNK, engine.info.n_batch)
    shape = (len(ids), engine.info.n_vocab)
    rows = np.lib.format.open_memmap(out, "w+", np.dtype(np.float32), shape)
    chunks = [(start, min(start + n_batch, n_read)) for start in range(0, n_read, n_batch)]
    for start, end in (*chunks, *((i, i + 1) for i in range(n_read, len(ids)))):
        span = Span(SeqId(0), start, ids[start:end], end - start)
        rows[start:end] = engine.forward(Plan((span,)))
        if not np.isfinite(rows[start:end]).all():
            raise EngineError(f"the {engine.info.engine} engine's logits are no numbers")
    rows.flush()


def _write_vectors(engine: Engine, text: str, out: Path) -> None:
    if not isinstance(engine, Embeds):
        raise EngineError("the model neither generates nor embeds")
    encode, n_ctx = engine.tokenizer.encode, engine.info.n_ctx
    lines = [line for line in text.splitlines() if line.strip()][:MAX_TEXTS]
    texts = [encode(line, add_special=True, parse_special=False)[:n_ctx] for line in lines]
    if not texts:
        raise InvalidRequest("a text to compare on needs at least one line")
    vectors = engine.embed(texts)
    if not np.isfinite(vectors).all():
        raise EngineError(f"the {engine.info.engine} engine's vectors are no numbers")
    np.save(out, vectors)
