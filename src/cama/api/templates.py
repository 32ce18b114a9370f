"""Which template makes a model's prompts."""

import logging
import re
from functools import lru_cache

from cama.api.facts import Facts
from cama.core.errors import Unsupported
from cama.runner.protocol import RunnerInfo
from cama.store.models import StoredModel
from cama.templates.jinja import ChatTemplate
from cama.templates.plain import PlainTemplate
from cama.templates.prompt import Template

_log = logging.getLogger(__name__)

_PLAIN = re.compile(r"\s*\{\{-?\s*\.Prompt\s*-?\}\}\s*")


def template_of(model: StoredModel, facts: Facts, info: RunnerInfo) -> Template:
    """The model's template: the Jinja one of its file, or none at all.

    Raises Unsupported when it has only one that this version cannot render.
    """
    if _is_plain(model):
        return PlainTemplate()
    own = _foreign(model)
    if facts.chat_template is not None:
        if own:
            _log_choice(model.name, own)
        return ChatTemplate(facts.chat_template, bos=info.bos_text, eos=info.eos_text)
    if own:
        raise Unsupported(f"{model.name} has {own}, which this version of Cama cannot render")
    return PlainTemplate()


def template_text(model: StoredModel, facts: Facts) -> str | None:
    """The source of the template in effect, or of the one that cannot be rendered."""
    return model.template if _is_plain(model) else facts.chat_template or model.template


def _is_plain(model: StoredModel) -> bool:
    return model.template is not None and _PLAIN.fullmatch(model.template) is not None


def _foreign(model: StoredModel) -> str:
    """What Ollama would render this model's prompts with, in words; empty when there is nothing."""
    renderer = model.config.get("renderer")
    if renderer:
        return f"the built-in renderer {renderer!r}"
    return "a Go template" if model.template and model.template.strip() else ""


@lru_cache(maxsize=256)
def _log_choice(name: str, own: str) -> None:
    """Once per model: the cache is what remembers."""
    _log.info("%s: using the chat template of its file instead of %s", name, own)
