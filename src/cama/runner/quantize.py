"""The job that quantizes a file: ``python -m cama.runner.quantize``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cama.core.errors import Unsupported
from cama.ggml.importance import ImportanceFile
from cama.ggml.quantizer import Quantization, quantize_file
from cama.gguf import GGUFFile
from cama.runner.environment import available_cpus
from cama.runner.job import Report, main


def quantize(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    """``source`` to ``target`` in the file type of the number ``type``.

    ``label`` is what progress is called, ``imatrix`` the path of an importance matrix, and
    ``imatrix_name`` what the new file calls that.
    """
    source = Path(request["source"])
    imatrix = request.get("imatrix")
    with GGUFFile.open(source) as file:
        if not request.get("may_requantize"):
            _require_exact(file)
        sizes = {name: tensor.n_bytes for name, tensor in file.tensors.items()}
    found = ImportanceFile.read(Path(imatrix)) if imatrix else None
    how = Quantization(
        file_type=request["type"],
        importance=found.importance(request["imatrix_name"]) if found else None,
        is_pure=request.get("is_pure", False),
        may_requantize=request.get("may_requantize", False),
        n_threads=request.get("n_threads") or available_cpus(),
    )
    progress = _Progress(sizes, request["label"], report)
    quantize_file(source, Path(request["target"]), how, progress)
    report(request["label"], sum(sizes.values()), sum(sizes.values()))
    return {}


class _Progress:
    """Bytes of the source that are done, from the names of tensors as they come."""

    def __init__(self, sizes: Mapping[str, int], label: str, report: Report) -> None:
        self._sizes = sizes
        self._label = label
        self._report = report
        self._total = sum(sizes.values())
        self._done = 0
        self._current = 0

    def __call__(self, name: str) -> None:
        self._done += self._current
        self._current = self._sizes.get(name, 0)
        self._report(self._label, self._done, self._total)


def _require_exact(file: GGUFFile) -> None:
    if any(tensor.type.block_size > 1 for tensor in file.tensors.values()):
        raise Unsupported(
            "quantization is only supported for F16, BF16 and F32 models", path=str(file.path)
        )


if __name__ == "__main__":
    main(quantize)
