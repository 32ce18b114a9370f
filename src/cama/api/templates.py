"""Which template makes a model's prompts."""

import logging
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from cama.api.images import hears, sees
from cama.api.names import full_name
from cama.api.problems import UnknownRenderer
from cama.core.errors import InvalidTemplate, Unsupported
from cama.runner.protocol import RunnerInfo
from cama.store.facts import Facts
from cama.store.models import StoredModel
from cama.templates.answers.families import is_parser
from cama.templates.answers.formats import AnswerFormat
from cama.templates.capabilities import Capabilities, Language, answers_of, capabilities
from cama.templates.formats import FORMATS
from cama.templates.jinja import ChatTemplate
from cama.templates.ollama import OllamaTemplate
from cama.templates.prompt import Template
from cama.templates.renderers.table import RENDERERS, BuiltIn, default_parser

_log = logging.getLogger(__name__)

_GPT_OSS, _HARMONY = ("gptoss", "gpt-oss"), ("<|start|>", "<|end|>")
_LARGE = 12
"""Billions of parameters from which on Gemma 4 has the template of its large models."""

_BILLIONS = re.compile(r"(\d+(?:\.\d+)?)B")

_DERIVED = frozenset(known.template for known in FORMATS.values())

PLAIN = "{{ .Prompt }}"
"""The template of a model that has none: the texts, one after another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The template in effect. ``source`` is None of a model that has none; ``reason``, in words, is
    for the log. ``renderer`` is one of our own that makes the prompts instead; ``missing`` names
    one that should, but is not part of Cama.
    """

    language: Language
    source: str | None
    parser: str = ""
    reason: str = ""
    renderer: str = ""
    missing: str = ""

    @property
    def answers(self) -> AnswerFormat:
        return answers_of(self.language, self._read, self.parser)

    @property
    def has_parser(self) -> bool:
        """Whether the model's configuration says how answers look."""
        return is_parser(self.parser)

    @property
    def can(self) -> Capabilities:
        return capabilities(self.language, self._read, self.parser)

    @property
    def _read(self) -> str:
        """What is read of a template that may not be in use."""
        return "" if self.renderer else self.source or ""


def choose(model: StoredModel, facts: Facts, go_first: bool | None = None) -> Choice:
    """The renderer that the model's configuration names, else the template of its Modelfile or
    that of its file, whichever can do more.

    That of the Modelfile counts, unless the file's has a place for more of what a model can do;
    ``go_first`` says whether it does in any case, if that was said.
    """
    own, inner = model.template or "", facts.chat_template
    renderer, parser = (str(model.config.get(key) or "") for key in ("renderer", "parser"))
    if not (renderer or parser) and model.family in _GPT_OSS and all(m in own for m in _HARMONY):
        parser = "harmony"
    if renderer == "gemma4":
        renderer = _gemma4(model)
    go = Choice(language="go", source=own if own.strip() else None, parser=parser)
    if renderer in RENDERERS:
        parser = parser or default_parser(renderer)
        return replace(go, language="builtin", parser=parser, renderer=renderer)
    if inner is None:
        return replace(go, missing=renderer)
    jinja = Choice(language="jinja", source=inner, parser=parser)
    if renderer:
        return _instead(jinja, f"the renderer {renderer!r}, which Cama does not have")
    if own in _DERIVED:  # it was made from the file's, which says all of it
        return jinja
    if go.source is None:
        return jinja
    if go_first is False:
        return _instead(jinja, "its Go template, as CAMA_GO_TEMPLATE has it")
    if own.strip() == PLAIN:  # said on purpose: nothing makes this template but a Modelfile
        return go
    if broken := _complaint(own):
        return _instead(jinja, f"its Go template, which is broken: {broken}")
    if go_first or go.has_parser:  # a parser belongs to the template beside it
        return go
    return _instead(jinja, "its Go template, which can do less") if _prefers(jinja, go) else go


def _gemma4(model: StoredModel) -> str:
    """Which of two renderers is meant: Ollama tells by the name, else by the size."""
    name = model.name.lower()
    if any(size in name for size in ("e2b", "e4b")):
        return "gemma4-small"
    found = _BILLIONS.fullmatch(model.parameter_size)
    is_large = any(size in name for size in ("12b", "26b", "31b"))
    is_large = is_large or (found is not None and float(found[1]) >= _LARGE)
    return "gemma4-large" if is_large else "gemma4-small"


def _instead(chosen: Choice, other: str) -> Choice:
    return replace(chosen, reason=f"the chat template of its file is used instead of {other}")


def _prefers(jinja: Choice, go: Choice) -> bool:
    """Whether the file's template offers more than the Modelfile's, as Ollama counts."""
    more, less = jinja.can, go.can
    if less.round_trip and not more.round_trip:
        return False
    offers, offered = set(more.names), set(less.names)
    if offers == offered:
        return more.tools and more.round_trip and not less.round_trip
    return offers > offered


def _complaint(source: str) -> str:
    try:
        OllamaTemplate(source)
    except InvalidTemplate as error:
        return error.message
    return ""


def template_of(name: str, choice: Choice, info: RunnerInfo) -> Template:
    """The template of the model ``name``, ready to be used.

    Raises UnknownRenderer when it would need one that Cama does not have, and InvalidTemplate.
    """
    if choice.missing:
        raise UnknownRenderer(f'unknown renderer "{choice.missing}"')
    if choice.renderer:
        return BuiltIn(choice.renderer, info.bos_text)
    if choice.source is None:
        _warn_of_none(name)
    elif choice.reason:
        _log_choice(name, choice.reason)
    if choice.language == "go":
        return OllamaTemplate(choice.source or PLAIN)
    return ChatTemplate(choice.source or "", bos=info.bos_text, eos=info.eos_text)


def inserting_template(name: str, choice: Choice, own: str) -> OllamaTemplate:
    """The template ``own``, or that of the model ``name``, which has a place for what follows the
    text that is to be inserted. Raises Unsupported when it has none.
    """
    choice = Choice(language="go", source=own) if own else choice
    if choice.source is None or not choice.can.insert:
        raise Unsupported(f"{full_name(name)} does not support insert")
    return OllamaTemplate(choice.source)


def capability_names(model: StoredModel, facts: Facts, choice: Choice) -> list[str]:
    """What the model can do, in the words of the API."""
    if facts.pools:
        return list(dict.fromkeys(["embedding", *model.capabilities]))
    can = choice.can
    named = {
        "completion": True,
        "vision": sees(model, facts),
        "audio": hears(model, facts),
        "tools": can.tools,
        "insert": can.insert,
        "thinking": can.thinking,
        **dict.fromkeys(model.capabilities, True),
    }
    return [name for name, is_there in named.items() if is_there]


@lru_cache(maxsize=256)
def _log_choice(name: str, reason: str) -> None:
    """Once per model: the cache is what remembers."""
    _log.info("%s: %s", name, reason)


@lru_cache(maxsize=256)
def _warn_of_none(name: str) -> None:
    _log.warning(
        "%s has no chat template: the texts of a conversation follow one another without marks, "
        "and system messages are left out",
        name,
    )
