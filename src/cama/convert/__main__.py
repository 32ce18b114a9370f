"""The job that converts a checkpoint: ``python -m cama.convert``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cama.convert.adapter import convert_adapter
from cama.convert.checkpoint import Checkpoint
from cama.convert.model import convert_model
from cama.runner.job import Report, main


def convert(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    """``files``, by their names in the checkpoint, to ``target``.

    ``kind`` is ``model`` or ``adapter``; ``base`` is the GGUF file of the model that the latter is
    for, ``name`` what the result is called, ``type`` the type of a model's matrices.
    """
    files = {name: Path(path) for name, path in request["files"].items()}
    checkpoint = Checkpoint(files, request["name"])
    target = Path(request["target"])
    if request["kind"] == "adapter":
        digest = convert_adapter(checkpoint, Path(request["base"]), target)
        return {"digest": digest, "notes": []}
    made = convert_model(checkpoint, target, request["type"], request["label"], report)
    return {"digest": made.digest, "notes": list(made.notes)}


if __name__ == "__main__":
    main(convert)
