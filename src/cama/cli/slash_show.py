"""``/show``: one item of what the server knows of the model, with what the session adds."""

from collections.abc import Callable, Mapping
from typing import Any

from cama.cli.description import describe
from cama.cli.session import Session
from cama.client.fields import text

_NO_PARAMETERS = "  No additional parameters were specified for this model."


def show_item(session: Session, facts: Mapping[str, Any], item: str) -> str:
    """What ``/show ITEM`` prints."""
    action = _ITEMS.get(item)
    if action is None:
        return f"Unknown command '/show {item}'. Type /? for help"
    return action(session, facts)


def _info(session: Session, facts: Mapping[str, Any]) -> str:
    return describe(facts).rstrip("\n") + "\n"


def _license(session: Session, facts: Mapping[str, Any]) -> str:
    return text(facts, "license") or "No license was specified for this model."


def _modelfile(session: Session, facts: Mapping[str, Any]) -> str:
    return text(facts, "modelfile")


def _parameters(session: Session, facts: Mapping[str, Any]) -> str:
    defined = text(facts, "parameters").splitlines()
    lines = ["Model defined parameters:", *(f"  {line}" for line in defined)]
    if not defined:
        lines.append(_NO_PARAMETERS)
    if session.options:
        lines += ["", "User defined parameters:"]
        lines += [f"  {name:<30} {_value(value)}" for name, value in session.options.items()]
    return "\n".join(lines) + "\n"


def _system(session: Session, facts: Mapping[str, Any]) -> str:
    system = text(facts, "system") if session.system is None else session.system
    return system or "No system message was specified for this model."


def _template(session: Session, facts: Mapping[str, Any]) -> str:
    return text(facts, "template") or "No prompt template was specified for this model."


def _value(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


_ITEMS: Mapping[str, Callable[[Session, Mapping[str, Any]], str]] = {
    "info": _info,
    "license": _license,
    "modelfile": _modelfile,
    "parameters": _parameters,
    "system": _system,
    "template": _template,
}
