"""Messages between the server and a runner: JSON over HTTP on loopback.

    GET  /health      -> Health
    GET  /info        -> RunnerInfo (409 with an error while the model is not ready)
    POST /generate    Generation -> NDJSON: {"chunk": ...}*, then {"finish": ...} or {"error": ...}
    POST /embed       Embedding -> Embedded
    POST /rank        Ranking -> Ranked
    POST /tokenize    {"text", "add_special", "parse_special", "images"} -> {"tokens": [...]}
    POST /detokenize  {"tokens"} -> {"text"}
    POST /pieces      {"tokens"} -> {"pieces": [...]}, bytes as Latin-1

Every request carries the runner's secret in the header ``SECRET_HEADER``; without it the answer is
403. A refused request is status 400 to 503 with ``{"error": CamaError.to_dict()}``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cama.core.embedding import Embedding, Ranking
from cama.core.errors import RunnerError
from cama.core.generation import (
    Adapter,
    Chunk,
    Constraint,
    Event,
    Finish,
    Generation,
    Logprob,
    Sampling,
)
from cama.core.load import Draft, LoadOptions, PrefixFolder, Room

SECRET_HEADER = "x-cama-secret"

Status = Literal["starting", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """What a runner is started with; it travels over the child's standard input as one JSON line.

    ``stall_timeout`` is how many seconds its engine may compute without progress; 0 is no bound.
    Standard input stays open: its end means that the parent is gone, and the runner exits.
    """

    model_path: Path
    load: LoadOptions
    secret: str
    debug: bool = False
    prefixes: PrefixFolder | None = None
    stall_timeout: float = 0.0

    def to_json(self) -> dict[str, Any]:
        data = asdict(self) | {"model_path": str(self.model_path)}
        data["load"]["parts"] = [str(part) for part in self.load.parts]
        projector = self.load.projector
        data["load"]["projector"] = None if projector is None else str(projector)
        if self.load.draft is not None:
            data["load"]["draft"] |= {
                "path": str(self.load.draft.path),
                "parts": [str(part) for part in self.load.draft.parts],
            }
        if self.prefixes is not None:
            data["prefixes"]["path"] = str(self.prefixes.path)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RunnerConfig":
        return cls(
            model_path=Path(data["model_path"]),
            load=_load_options(data["load"]),
            secret=data["secret"],
            debug=data["debug"],
            prefixes=data["prefixes"] and _prefix_folder(data["prefixes"]),
            stall_timeout=data["stall_timeout"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``progress`` runs from 0 to 1 while loading; ``error`` is ``to_dict`` of the failure."""

    status: Status
    progress: float = 0.0
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerInfo:
    """Facts about a loaded model, for the scheduler and for ``ps``. Sizes in bytes.

    ``rank_template`` is how a reranker's file wants ``{query}`` and ``{document}`` to be written.
    """

    engine: str
    reason: str
    architecture: str
    n_ctx: int
    n_ctx_train: int
    n_cells: int
    n_vocab: int
    bos_text: str
    eos_text: str
    load_seconds: float
    rss_bytes: int
    rank_template: str = ""


def _load_options(data: Mapping[str, Any]) -> LoadOptions:
    draft = data["draft"]
    if draft is not None:
        draft = Draft(
            path=Path(draft["path"]), digest=draft["digest"], parts=_paths(draft["parts"])
        )
    rooms = tuple(Room(**room) for room in data["rooms"])
    parts, projector = _paths(data["parts"]), data["projector"] and Path(data["projector"])
    read = {"draft": draft, "parts": parts, "rooms": rooms, "projector": projector}
    return LoadOptions(**{**data, **read})


def _paths(data: Sequence[str]) -> tuple[Path, ...]:
    return tuple(map(Path, data))


def _prefix_folder(data: Mapping[str, Any]) -> PrefixFolder:
    return PrefixFolder(**{**data, "path": Path(data["path"])})


def generation_to_json(generation: Generation) -> dict[str, Any]:
    adapters = [asdict(one) | {"path": str(one.path)} for one in generation.adapters]
    return asdict(generation) | {"adapters": adapters}


def generation_from_json(data: Mapping[str, Any]) -> Generation:
    prompt, constraint = data["prompt"], data.get("constraint")
    return Generation(
        **{
            **data,
            "prompt": prompt if isinstance(prompt, str) else tuple(prompt),
            "sampling": _sampling(data["sampling"]),
            "stop": tuple(data["stop"]),
            "visible": tuple(map(str, data["visible"])),
            "images": tuple(map(str, data["images"])),
            "adapters": tuple(map(_adapter, data["adapters"])),
            "constraint": None if constraint is None else Constraint(**constraint),
        }
    )


def _adapter(data: Mapping[str, Any]) -> Adapter:
    return Adapter(**{**data, "path": Path(data["path"])})


def embedding_from_json(data: Mapping[str, Any]) -> Embedding:
    texts = (text if isinstance(text, str) else tuple(map(int, text)) for text in data["texts"])
    return Embedding(**{**data, "texts": tuple(texts)})


def _sampling(data: Mapping[str, Any]) -> Sampling:
    bias = data["logit_bias"]
    return Sampling(**{**data, "logit_bias": {int(token): bias[token] for token in bias}})


def ranking_from_json(data: Mapping[str, Any]) -> Ranking:
    return Ranking(**{**data, "documents": tuple(map(str, data["documents"]))})


def event_to_json(event: Event) -> dict[str, Any]:
    if isinstance(event, Finish):
        return {"finish": asdict(event)}
    chunk: dict[str, Any] = {"text": event.text, "n_tokens": event.n_tokens}
    if event.logprobs:
        chunk["logprobs"] = _logprobs_to_json(event.logprobs)
    if event.prompt_logprobs:
        chunk["prompt_logprobs"] = _logprobs_to_json(event.prompt_logprobs)
    return {"chunk": chunk}


def event_from_json(data: Mapping[str, Any]) -> Event:
    match data:
        case {"chunk": fields}:
            return Chunk(
                text=fields["text"],
                n_tokens=fields["n_tokens"],
                logprobs=_logprobs_from_json(fields.get("logprobs", ())),
                prompt_logprobs=_logprobs_from_json(fields.get("prompt_logprobs", ())),
            )
        case {"finish": fields}:
            return Finish(**fields)
    raise RunnerError("the runner sent a message that is not an event", keys=sorted(data))


def _logprobs_to_json(logprobs: Sequence[Logprob]) -> list[Any]:
    """Each as [token, piece, logprob, top]; JSON has no bytes, Latin-1 has a character for each."""
    return [
        [one.token, one.piece.decode("latin-1"), one.logprob, _logprobs_to_json(one.top)]
        for one in logprobs
    ]


def _logprobs_from_json(data: Sequence[Any]) -> tuple[Logprob, ...]:
    return tuple(
        Logprob(
            token=token,
            piece=piece.encode("latin-1"),
            logprob=logprob,
            top=_logprobs_from_json(top),
        )
        for token, piece, logprob, top in data
    )
