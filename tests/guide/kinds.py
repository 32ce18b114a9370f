"""The kinds of text that answers put in backticks; a text of none of them is a slip.

Most kinds are looked up in the product. What other programs have is listed in FOREIGN and TOOLS,
what is made up in EXAMPLES. Whether a command line or a snippet is right is for ``checks``.
"""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import ollama

from cama.cli import guidance
from cama.cli.catalog import ALIASES, COMMANDS
from cama.cli.timings import timing_lines
from cama.core.duration import parse_duration
from cama.core.errors import CamaError
from cama.core.settings import Address, Settings
from cama.modelfile.parameters import DEPRECATED, NAMES
from cama.modelfile.parser import COMMANDS as INSTRUCTIONS
from cama.store.names import DEFAULT_TAG, ModelName
from tests.guide.checks import simple_commands, without_assignments
from tests.guide.product import ENGINES, PACKAGE, REASONS, ROOT, api_fields, methods, variables

FOREIGN = re.compile(
    r"convert_hf_to_gguf\.py|ollama|HTTPS_PROXY|Host: localhost|/etc/hosts|\{\{ \.Prompt \}\}"
    r"|\[Service\]|ExecStart=|Environment=CAMA_\w+=\S+"
)
TOOLS = re.compile(
    r"awk|cat|curl|df|du|export|git|iconv|pip|pkill|source|sudo|systemctl|xcode-select"
    r"|python|scripts/\w+|(\.venv/bin/)?cama"
)
EXAMPLES = re.compile(r"mine|(\./)?\w*\.gguf|> Modelfile|\.venv(/bin/cama)?|[#*._-]|--|\"\"\"")

MISSING_COMMANDS = {"version"}
"""Answers name this one to say that there is no such command."""

IN_SOURCE = {
    "llama-cpp-python": "pyproject.toml",
    "Ollama is running": "src/cama/api/routes/system.py",
    ">>>": "src/cama/cli/editor.py",
    "engine=": "src/cama/engine/select.py",
    "_DEFINITIONS": "src/cama/engine/native/models/__init__.py",
    "nn.Decoder": "src/cama/engine/native/nn/__init__.py",
    "manifests": "src/cama/store/store.py",
    "blobs": "src/cama/store/store.py",
}
"""Texts of the product, and the files that have them; a name stands there without its module."""

_FIELDS = api_fields() | DEPRECATED | set(NAMES)
_CLI = "".join(path.read_text() for path in sorted((PACKAGE / "cli").glob("*.py")))


def _is_shell(text: str) -> bool:
    commands = [words for words in map(without_assignments, simple_commands(text)) if words]
    return bool(commands) and all(TOOLS.fullmatch(words[0]) for words in commands)


def _is_command(text: str) -> bool:
    return text in COMMANDS or text in ALIASES or text in MISSING_COMMANDS - COMMANDS.keys()


def _is_slash_command(text: str) -> bool:
    known = guidance.ALL.replace(",", " ").split()
    return text == "/exit" or (text.startswith("/") and text.split()[0] in known)


def _is_route(text: str) -> bool:
    return bool(methods(text.removeprefix("GET ")))


def _is_variable(text: str) -> bool:
    return text.partition("=")[0] in variables() or bool(
        re.fullmatch(r"(CAMA|OLLAMA)_(\*|[A-Z_]+)", text)
    )


def _is_instruction(text: str) -> bool:
    word = text.split()[0]
    return word.isupper() and word.lower() in INSTRUCTIONS


def _is_json(text: str) -> bool:
    return re.match(r'\{"|"[^"]', text) is not None


def _is_field(text: str) -> bool:
    """A field, one of an object, or a formula of fields. Options and parameters are fields too."""
    if not re.fullmatch(r"[a-z]\w*(\.\w+)?|\w+ / \w+ \* 1e9", text):
        return False
    return _FIELDS.issuperset(re.findall(r"\b[a-z]\w*", text))


def _is_value(text: str) -> bool:
    if text in REASONS | ENGINES | {DEFAULT_TAG}:
        return True
    try:
        return Settings.load({"CAMA_DEBUG": text}).debug
    except CamaError:
        return False


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except CamaError:
        return False
    return True


def _is_address(text: str) -> bool:
    return re.fullmatch(r"[\d.]+:\d+", text) is not None and Address.parse(text) == Settings().host


def _is_in_repository(text: str) -> bool:
    """A path in the repository, or below ``src/cama``."""
    return text[0].isalpha() and ((ROOT / text).exists() or (PACKAGE / text).exists())


def _is_of_the_user(text: str) -> bool:
    """One of the user's folders, or a file there whose names the command line has."""
    settings, path = Settings(), Path(text).expanduser()
    own = (folder for folder in (settings.models, settings.home) if path.is_relative_to(folder))
    root = next(own, None)
    return root is not None and all(f'"{part}"' in _CLI for part in path.relative_to(root).parts)


def _is_timing(text: str) -> bool:
    measured = ("prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration")
    return f"\n{text}:" in f"\n{timing_lines(dict.fromkeys(measured, 1))}"


def _is_model_name(text: str) -> bool:
    try:
        return ModelName.parse(text).full == text
    except CamaError:
        return False


def _is_of_the_client(text: str) -> bool:
    """A call of the ``ollama`` package to something that it has."""
    found = re.fullmatch(r"ollama\.(\w+)\(.*\)", text)
    return found is not None and hasattr(ollama, found[1]) and bool(ast.parse(text))


def _is_in_source(text: str) -> bool:
    file = IN_SOURCE.get(text)
    return file is not None and text.split(".")[-1] in (ROOT / file).read_text()


KINDS: Mapping[str, Callable[[str], object]] = {
    "shell": _is_shell,
    "command": _is_command,
    "flag": re.compile(r"--?[a-z][a-z-]*").fullmatch,
    "slash command": _is_slash_command,
    "route": _is_route,
    "variable": _is_variable,
    "Modelfile": _is_instruction,
    "JSON": _is_json,
    "field": _is_field,
    "value": _is_value,
    "duration": _is_duration,
    "address": _is_address,
    "path in the repository": _is_in_repository,
    "file of the user": _is_of_the_user,
    "timing": _is_timing,
    "model name": _is_model_name,
    "call of the client": _is_of_the_client,
    "text in the source": _is_in_source,
    "foreign": FOREIGN.fullmatch,
    "example": EXAMPLES.fullmatch,
}


def kinds_of(text: str) -> list[str]:
    """The kinds that a text is of."""
    return [name for name, is_kind in KINDS.items() if is_kind(text)]
