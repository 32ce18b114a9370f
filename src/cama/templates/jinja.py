"""Jinja chat templates, as Hugging Face defines them and GGUF files carry them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final

from jinja2 import Template
from jinja2.exceptions import TemplateError

from cama.core.errors import CamaError, InvalidModelFile, InvalidRequest
from cama.templates.budget import Budget
from cama.templates.metering import meter
from cama.templates.sandbox import BUDGET, Sandbox

MAX_SOURCE: Final = 1 << 20
_CACHED: Final = 32
_MAX_DATE: Final = 256


class ChatTemplate:
    """A chat template with the texts of the model's begin and end tokens.

    Threads may share one. Raises InvalidModelFile when ``source`` does not compile.
    """

    leaves_open: ClassVar[bool] = False

    def __init__(
        self, source: str, *, bos: str, eos: str, now: Callable[[], datetime] = datetime.now
    ) -> None:
        self._template = _compile(source)
        self._bos = bos
        self._eos = eos
        self._now = now

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **extra: Any,
    ) -> str:
        """The prompt for ``messages``.

        Raises InvalidRequest when the template refuses them, fails, or costs too much.
        """
        budget = Budget()
        variables = {
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            "bos_token": self._bos,
            "eos_token": self._eos,
            "strftime_now": self._strftime_now,
            **extra,
            BUDGET: budget,
        }
        try:
            return _collect(self._template, variables, budget)
        except CamaError:
            raise
        except Exception as error:
            raise InvalidRequest(
                f"the model's chat template refused: {_one_line(error)}"
            ) from error

    def _strftime_now(self, form: str) -> str:
        return self._now().strftime(form[:_MAX_DATE])


def _collect(template: Template, variables: dict[str, Any], budget: Budget) -> str:
    pieces: list[str] = []
    for piece in template.generate(variables):
        budget.emit(len(piece))
        pieces.append(piece)
    return "".join(pieces)


@lru_cache(maxsize=_CACHED)
def _compile(source: str) -> Template:
    if len(source) > MAX_SOURCE:
        raise _unusable("is too long")
    sandbox = Sandbox()
    try:
        tree = meter(sandbox.parse(source))
        tree.set_environment(sandbox)
        code = sandbox.compile(tree)
    except (TemplateError, RecursionError, ValueError, SyntaxError, MemoryError) as error:
        raise _unusable(f"does not compile: {_one_line(error)}") from error
    return sandbox.template_class.from_code(sandbox, code, sandbox.make_globals(None))


def _unusable(what: str) -> InvalidModelFile:
    return InvalidModelFile(f"the model's chat template {what}", field="tokenizer.chat_template")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
