"""``/set``: changes the settings of a session; each change answers with a line."""

import sys
from collections.abc import Callable, Mapping

from cama.cli.session import Session
from cama.core.errors import InvalidOption

_FORMAT_HINT = "Invalid or missing format. For 'json' mode use '/set format json'"


def change(session: Session, line: str) -> str:
    """Do what ``/set SETTING VALUE...`` says; returns what to tell the user."""
    setting, _, value = line.removeprefix("/set").lstrip().partition(" ")
    action = _SETTINGS.get(setting.strip())
    if action is None:
        return f"Unknown command '/set {setting.strip()}'. Type /? for help"
    return action(session, value)


def _parameter(session: Session, value: str) -> str:
    from cama.modelfile.parameters import parse_parameter

    name, *values = value.split() or [""]
    try:
        if not values:
            raise InvalidOption(
                f"parameter '{name}' needs a value" if name else "name and value are missing"
            )
        typed = [parse_parameter(name, text) for text in values]
    except InvalidOption as error:
        return f'Couldn\'t set parameter: "{error.message}"'
    session.options[name] = typed if name == "stop" else typed[0]
    return f"Set parameter '{name}' to '{', '.join(values)}'"


def _system(session: Session, value: str) -> str:
    session.system = value
    return "Set system message."


def _format(session: Session, value: str) -> str:
    if value.strip() != "json":
        return _FORMAT_HINT
    session.format, session.grammar = "json", None
    return "Set format to 'json' mode."


def _no_format(session: Session, value: str) -> str:
    session.format = session.grammar = None
    return "Disabled format."


def _think(session: Session, value: str) -> str:
    level = value.strip()
    session.think = level or True
    _warn_of_thinking(session)
    return f"Set 'think' mode to '{level}'." if level else "Set 'think' mode."


def _no_think(session: Session, value: str) -> str:
    session.think = False
    _warn_of_thinking(session)
    return "Set 'nothink' mode."


def _warn_of_thinking(session: Session) -> None:
    if "thinking" not in session.capabilities:
        print(f'warning: model "{session.model}" does not support thinking output', file=sys.stderr)


def _mode(attribute: str, name: str, value: bool) -> Callable[[Session, str], str]:
    def action(session: Session, _: str) -> str:
        setattr(session, attribute, value)
        return f"Set '{name}' mode."

    return action


_SETTINGS: Mapping[str, Callable[[Session, str], str]] = {
    "parameter": _parameter,
    "system": _system,
    "format": _format,
    "noformat": _no_format,
    "think": _think,
    "nothink": _no_think,
    "wordwrap": _mode("wordwrap", "wordwrap", True),
    "nowordwrap": _mode("wordwrap", "nowordwrap", False),
    "verbose": _mode("verbose", "verbose", True),
    "quiet": _mode("verbose", "quiet", False),
}
