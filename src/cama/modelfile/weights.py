"""Weights of a new model: opened, converted and quantized, in jobs where that is work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cama.core.errors import Unsupported
from cama.gguf.file_types import FILE_TYPE_NAMES, find_file_type
from cama.modelfile.sources import Checkpoint, Source
from cama.runner.jobs import Jobs
from cama.store.facts import Facts, read_facts
from cama.store.staging import Staged, Staging

Status = Callable[[str], None]

_CONVERT: Final = "cama.convert"
_QUANTIZE: Final = "cama.runner.quantize"
_UNQUANTIZED: Final = {"F32": 0, "F16": 1, "BF16": 32}


@dataclass(frozen=True, slots=True)
class Weights:
    """A sound GGUF file. ``name`` is that of what it came from, ``is_ours`` says that it was made
    here, in a temporary file. ``parts`` are all files of a model that is split over several,
    ``digest`` is that of the file where it is known."""

    path: Path
    facts: Facts
    name: str
    is_ours: bool = False
    parts: tuple[Path, ...] = ()
    digest: str = ""


def file_type(name: str) -> int:
    """The number of the type that a user calls ``name``. Raises Unsupported."""
    found = find_file_type(name)
    if found is None:
        raise Unsupported(
            f"unsupported quantization type {name.upper()} - supported types are F32, "
            f"{', '.join(FILE_TYPE_NAMES[number] for number in sorted(FILE_TYPE_NAMES))}"
        )
    return found


def type_name(number: int) -> str:
    return FILE_TYPE_NAMES.get(number, "F32")


class Workshop:
    """Makes GGUF files of a type out of sources; new ones lie in ``staging``.

    ``wanted`` is the number of a file type, None for that which the source has.
    """

    def __init__(
        self, staging: Staging, jobs: Jobs, status: Status, wanted: int | None = None
    ) -> None:
        self._staging = staging
        self._jobs = jobs
        self._status = status
        self._wanted = wanted

    def open(self, source: Source, *others: Source, base: Path | None = None) -> Weights:
        """A source as a GGUF file, converted where it is none; ``others`` are the further parts
        of one that is split.

        ``base`` is the file of the model that it is an adapter for, if it is one.
        Raises ModelNotFound, InvalidModelFile, Unsupported, StoreError, RunnerCrashed,
        Cancelled.
        """
        self._jobs.check()
        if isinstance(source, Checkpoint):
            return self._convert(source, base)
        self._status("parsing GGUF")
        if others:
            parts = (source, *(part for part in others if isinstance(part, Path)))
            return Weights(source, read_facts(*parts), source.name, parts=parts)
        return Weights(source, read_facts(source), source.name)

    def quantized(self, weights: Weights) -> Weights:
        """A model in the wanted type; everything else, and a model that has it, as it is."""
        if self._wanted is None or weights.facts.kind != "model":
            return weights
        wanted, given = type_name(self._wanted), weights.facts.quantization
        if given == wanted:
            return weights
        if weights.parts:
            raise Unsupported(
                "a model that is split over several files cannot be quantized: merge it first, "
                "with llama-gguf-split --merge"
            )
        target = self._staging.temporary()
        request = {
            "source": str(weights.path.absolute()),
            "target": str(target),
            "type": self._wanted,
            "label": f"quantizing {given} model to {wanted}",
            "n_threads": self._jobs.n_threads,
        }
        self._jobs.run(_QUANTIZE, request)
        self._status("verifying conversion")
        made = replace(weights, path=target, facts=read_facts(target), is_ours=True, digest="")
        if weights.is_ours:
            weights.path.unlink()
        return made

    def stage(self, weights: Weights) -> list[Staged]:
        """The blob of these weights, or those of all parts."""
        if weights.is_ours:
            return [self._staging.add_temporary(weights.path, weights.digest)]
        return [self._staging.add_file(path) for path in weights.parts or (weights.path,)]

    def _convert(self, source: Checkpoint, base: Path | None) -> Weights:
        label = "converting adapter" if base else "converting model"
        self._status(label)
        target = self._staging.temporary()
        request: Mapping[str, Any] = {
            "kind": "adapter" if base else "model",
            "base": str(base),
            "files": {name: str(path.absolute()) for name, path in source.files.items()},
            "name": source.name,
            "target": str(target),
            "type": self._converted_type,
            "label": label,
        }
        done = self._jobs.run(_CONVERT, request)
        for note in done["notes"]:
            self._status(f"warning: {note}")
        facts = read_facts(target)
        return Weights(target, facts, source.name, is_ours=True, digest=done["digest"])

    @property
    def _converted_type(self) -> str:
        """What the converter writes: the source's own precision where that is quantized later."""
        if self._wanted is None:
            return "16"
        name = type_name(self._wanted)
        return name if name in _UNQUANTIZED else "source"
