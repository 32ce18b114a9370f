"""``python -m cama.runner.verifying``: one step of comparing two engines, as a job of its own.

A crash of one engine takes neither the other nor the command with it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cama.core.load import LoadOptions
from cama.runner.job import Report, main


def verify(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    return _compare(request) if "reference" in request else _evaluate(request)


def _evaluate(request: Mapping[str, Any]) -> dict[str, Any]:
    from cama.engine.llama.encoder import only_embeds
    from cama.engine.select import open_engine
    from cama.engine.verification.evaluate import evaluate

    path, out = Path(request["model"]), Path(request["out"])
    engine = open_engine(path, LoadOptions(**request["load"]), lambda _: None)
    try:
        as_vectors = only_embeds(path)  # so that both sides do the same with a decoder's file
        done = evaluate(engine, request["text"], request["limit"], out, as_vectors=as_vectors)
        return asdict(done)
    finally:
        engine.close()


def _compare(request: Mapping[str, Any]) -> dict[str, Any]:
    from cama.engine.verification.compare import compare

    ours, reference = Path(request["ours"]), Path(request["reference"])
    return asdict(compare(ours, reference, request["ids"], request["n_decoded"]))


if __name__ == "__main__":
    main(verify)
