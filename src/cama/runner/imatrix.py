"""The job that measures an importance matrix: ``python -m cama.runner.imatrix``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cama.engine.llama.importance import measure_importance
from cama.ggml.importance import ImportanceFile
from cama.runner.job import Report, main


def measure(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    """What ``model`` does with ``text`` to ``target``.

    ``chunk_size`` is in tokens, ``n_chunks`` the most that are read (0: all), ``dataset`` what the
    text is called.
    """
    sums, n_chunks = measure_importance(
        Path(request["model"]),
        request["text"],
        request["chunk_size"],
        request["n_chunks"],
        request["n_threads"],
        lambda done, total: report(request["label"], done, total),
    )
    found = ImportanceFile(
        sums=sums,
        datasets=(request["dataset"],),
        chunk_count=n_chunks,
        chunk_size=request["chunk_size"],
    )
    with Path(request["target"]).open("wb") as out:
        found.write(out)
    return {"n_tensors": len(sums), "n_chunks": n_chunks}


if __name__ == "__main__":
    main(measure)
