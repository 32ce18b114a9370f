"""Models in words: what tags, ps and show say of them."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cama.api.adapters import adapter_facts
from cama.api.services import Loaded
from cama.api.templates import capability_names, choose
from cama.core.errors import CamaError, InvalidModelFile
from cama.gguf import GGUFFile
from cama.modelfile.writer import write_modelfile
from cama.store.facts import Facts, read_facts
from cama.store.models import StoredModel
from cama.wire.encode import go_literal, local_timestamp, without_empty
from cama.wire.requests import ShowRequest

_log = logging.getLogger(__name__)

_FOREVER = timedelta(seconds=(2**63 - 1) / 1e9)
"""Go's longest duration, about 292 years."""

_NOT_SHOWN = {"general.name", "tokenizer.chat_template"}
_PARAMETER_COUNT = "general.parameter_count"


def details(model: StoredModel, facts: Facts | None = None) -> dict[str, Any]:
    """``facts`` are those of its file, where that can be read."""
    lengths = {
        "context_length": facts.shape.n_ctx_train if facts else 0,
        "embedding_length": facts.shape.n_embd if facts else 0,
    }
    return {
        "parent_model": model.parent,
        "format": model.format,
        "family": model.family,
        "families": list(model.families) or None,
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization,
        **without_empty(lengths),
    }


def tag(model: StoredModel, go_first: bool | None) -> dict[str, Any]:
    """An entry of tags. Of a model whose file cannot be read it has no capabilities."""
    facts = _readable_facts(model)
    capabilities: list[str] = []
    if facts:
        capabilities = capability_names(model, facts, choose(model, facts, go_first))
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": local_timestamp(model.modified_at),
        "size": model.size,
        "digest": model.digest,
        "details": details(model, facts),
        **without_empty({"capabilities": capabilities}),
    }


def _readable_facts(model: StoredModel) -> Facts | None:
    try:
        return read_facts(model.path, *model.parts[1:])
    except CamaError as error:
        _log.warning("%s: %s", model.name, error.message)
        return None


def running(loaded: Loaded, model: StoredModel | None, now: datetime) -> dict[str, Any]:
    """An entry of ps. ``model`` is None when it was deleted since it was loaded.

    ``engine`` and ``engine_reason`` are Cama's own: which engine runs the model, and why.
    """
    spec, info = loaded.spec, loaded.info
    never = math.isinf(loaded.expires_in)
    expires = now + (_FOREVER if never else timedelta(seconds=loaded.expires_in))
    return {
        "name": spec.name,
        "model": spec.name,
        "size": max(info.rss_bytes, spec.memory_bytes) if info else spec.weights_bytes,
        "digest": spec.digest,
        "details": details(model) if model else {},
        "expires_at": local_timestamp(expires),
        "size_vram": 0,
        "context_length": info.n_ctx if info else 0,
        **({"engine": info.engine, "engine_reason": info.reason} if info else {}),
    }


def shown(
    model: StoredModel, facts: Facts, ask: ShowRequest, go_first: bool | None
) -> dict[str, Any]:
    """The answer of show; reads the header of the model's file."""
    choice = choose(model, facts, go_first)
    info, tensors = _file_facts(model.parts or (model.path,), verbose=ask.verbose)
    projector = _file_facts(model.projectors[:1], verbose=ask.verbose)[0]
    optional = {
        "license": "\n".join(model.licenses),
        "modelfile": write_modelfile(model),
        "parameters": parameters(model.params | dict(ask.options)),
        "template": choice.source,
        "system": ask.system or model.system,
        "requires": _text(model.config.get("requires")),
        "cama": _origin(model.config.get("cama")),
    }
    adapters = [adapter_facts(adapter) for adapter in model.adapters]
    messages = [{"role": m["role"], "content": m["content"]} for m in model.messages]
    return {
        **without_empty(optional),
        "details": details(model, facts),
        **without_empty({"messages": messages, "adapters": adapters}),
        "model_info": info,
        **without_empty({"projector_info": projector, "tensors": tensors}),
        "capabilities": capability_names(model, facts, choice),
        "modified_at": local_timestamp(model.modified_at),
    }


def _origin(given: Any) -> dict[str, Any]:
    """Where a model was pulled from and why so, as its config has it; that may be anybody's."""
    if not isinstance(given, dict):
        return {}
    texts = {key: _text(given.get(key)) for key in ("repository", "commit", "projector", "reason")}
    files = given.get("files")
    named = [name for name in files if isinstance(name, str)] if isinstance(files, list) else []
    return without_empty({**texts, "files": named})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _file_facts(
    parts: Sequence[Path], *, verbose: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The metadata of the first of several parts, and the tensors of all."""
    with ExitStack() as stack:
        files = [stack.enter_context(GGUFFile.open(path)) for path in parts]
        info = dict(_model_info(files[0], verbose=verbose)) if files else {}
        tensors = [
            {"name": t.name, "type": t.type.name, "shape": list(t.shape)}
            for file in files
            for t in file.tensors.values()
        ]
        if files:
            info[_PARAMETER_COUNT] = sum(file.parameter_count for file in files)
    return info, tensors


def parameters(params: dict[str, Any]) -> str:
    """Lines of name and value, a line for each of several values."""
    lines = []
    for name, value in params.items():
        values = value if isinstance(value, list | tuple) else [value]
        lines += [f"{name:<30} {go_literal(item)}" for item in values]
    return "\n".join(lines)


def _model_info(file: GGUFFile, *, verbose: bool) -> Iterator[tuple[str, Any]]:
    """The metadata by key; arrays are null unless ``verbose``, for some are very long."""
    for key in sorted({*file.metadata, _PARAMETER_COUNT} - _NOT_SHOWN):
        if key == _PARAMETER_COUNT:
            yield key, file.parameter_count
        elif not verbose and _is_array(file, key):
            yield key, None
        else:
            yield key, _finite(file.get(key))


def _is_array(file: GGUFFile, key: str) -> bool:
    try:
        file.array_length(key)
    except InvalidModelFile:
        return False
    return True


def _finite(value: Any) -> Any:
    """``value`` with null for what JSON has no number for."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
