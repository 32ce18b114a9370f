"""What ``show`` says of a model: the sections of its default output."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cama.cli import human
from cama.cli.table import columns
from cama.client.fields import integer, mapping, objects, text, texts

_INDENT = " " * 4
_FIRST_LINES = 2
_ARRAY_WIDTH = 10
"""Columns that the first elements of a shortened array may take."""

Rows = list[tuple[str, ...]]


def describe(facts: Mapping[str, Any], *, verbose: bool = False) -> str:
    """The sections that have something to say."""
    sections: list[tuple[str, Rows]] = [
        ("Model", _model(facts)),
        ("Capabilities", [(name,) for name in texts(facts, "capabilities")]),
        ("Projector", _projector(mapping(facts, "projector_info"))),
        ("Parameters", _parameters(text(facts, "parameters"))),
    ]
    sections.append(("Source", _source(mapping(facts, "cama"))))
    sections += [("Adapter", _adapter(adapter)) for adapter in objects(facts, "adapters")]
    if verbose:
        sections.append(("Metadata", _metadata(mapping(facts, "model_info"))))
        sections.append(("Tensors", _tensors(objects(facts, "tensors"))))
    sections.append(("System", _beginning(text(facts, "system"))))
    sections.append(("License", _beginning(text(facts, "license"))))
    return "".join(f"  {title}\n{columns(rows, _INDENT)}\n" for title, rows in sections if rows)


def _model(facts: Mapping[str, Any]) -> Rows:
    info, details = mapping(facts, "model_info"), mapping(facts, "details")
    architecture = text(info, "general.architecture")
    parameters = integer(info, "general.parameter_count")
    return _present(
        ("Remote model", text(facts, "remote_model")),
        ("Remote URL", text(facts, "remote_host")),
        ("architecture", architecture or text(details, "family")),
        ("parameters", human.count(parameters) if parameters else text(details, "parameter_size")),
        ("context length", integer(info, f"{architecture}.context_length")),
        ("embedding length", integer(info, f"{architecture}.embedding_length")),
        ("quantization", text(details, "quantization_level")),
        ("requires", text(facts, "requires")),
    )


def _source(origin: Mapping[str, Any]) -> Rows:
    """Where the model was pulled from, and why this file of it."""
    return _present(
        ("repository", text(origin, "repository")),
        ("commit", text(origin, "commit")[:12]),
        *(("file", name) for name in texts(origin, "files")),
        ("projector", text(origin, "projector")),
        ("reason", text(origin, "reason")),
    )


def _adapter(facts: Mapping[str, Any]) -> Rows:
    parameters = integer(facts, "parameter_count")
    alpha = facts.get("alpha")
    return _present(
        ("type", text(facts, "type")),
        ("rank", integer(facts, "rank")),
        ("alpha", f"{alpha:g}" if isinstance(alpha, float) else ""),
        ("parameters", human.count(parameters) if parameters else ""),
        ("digest", text(facts, "digest").removeprefix("sha256:")[:12]),
    )


def _projector(info: Mapping[str, Any]) -> Rows:
    architecture = text(info, "general.architecture")
    parameters = integer(info, "general.parameter_count")
    return _present(
        ("architecture", architecture),
        ("parameters", human.count(parameters) if parameters else ""),
        ("embedding length", integer(info, f"{architecture}.vision.embedding_length")),
        ("dimensions", integer(info, f"{architecture}.vision.projection_dim")),
    )


def _parameters(lines: str) -> Rows:
    rows = (line.split(maxsplit=1) for line in lines.splitlines())
    return [(row[0], row[1]) for row in rows if len(row) == 2]


def _metadata(info: Mapping[str, Any]) -> Rows:
    return [(key, _value(info[key])) for key in sorted(info) if info[key] is not None]


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> Rows:
    return [
        (text(tensor, "name"), text(tensor, "type"), f"[{' '.join(texts(tensor, 'shape'))}]")
        for tensor in tensors
    ]


def _present(*rows: tuple[str, str | int]) -> Rows:
    return [(label, str(value)) for label, value in rows if value]


def _beginning(block: str) -> Rows:
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    shown = lines[:_FIRST_LINES] + (["..."] if len(lines) > _FIRST_LINES else [])
    return [(line,) for line in shown]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return _array([_value(item) for item in value])
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _array(items: Sequence[str]) -> str:
    """``[a b c]``, or its first elements and how many more there are."""
    shown = sum(1 for _ in _fitting(items))
    more = f" ...+{len(items) - shown} more" if shown < len(items) else ""
    return f"[{' '.join(items[:shown])}{more}]"


def _fitting(items: Sequence[str]) -> Iterable[str]:
    used = 0
    for index, item in enumerate(items):
        used += len(item) + 1
        if index > 0 and used > _ARRAY_WIDTH:
            return
        yield item
