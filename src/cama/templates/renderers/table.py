"""Renderers by the names that configurations know, and the parser that goes with each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from cama.core.errors import InvalidRequest
from cama.templates.renderers import cogito, deepseek, gemma, glm, lfm, nemotron, olmo, qwen
from cama.templates.renderers.talk import Talk, Turn

_OLMO = "You are a helpful function-calling AI assistant."
_OLMO_31 = (
    "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and "
    "your model weights are available at https://huggingface.co/allenai."
)

_ASSISTANT = "You are a helpful AI assistant."
_NO_THOUGHTS = "<|channel>thought\n<channel|>"

Render = Callable[[Talk], str]

RENDERERS: Final[Mapping[str, tuple[Render, str]]] = {
    "qwen3-coder": (qwen.coder, "qwen3-coder"),
    "qwen3-vl-instruct": (qwen.hermes, "qwen3-vl-instruct"),
    "qwen3-vl-thinking": (partial(qwen.hermes, opens="<think>\n"), "qwen3-vl-thinking"),
    "qwen3.5": (qwen.qwen35, "qwen3.5"),
    "qwen3.8": (qwen.qwen38, "qwen3.5"),
    "ornith": (partial(qwen.qwen35, keeps_thoughts=True), "ornith"),
    "nemotron-3-nano": (nemotron.nemotron3, "nemotron-3-nano"),
    "nemotron-3.5-nano": (nemotron.nemotron35, "nemotron-3.5-nano"),
    "cogito": (cogito.cogito, "cogito"),
    "deepseek3.1": (deepseek.deepseek, "deepseek3"),
    "olmo3": (partial(olmo.olmo3, system=_OLMO), "olmo3"),
    "olmo3.1": (partial(olmo.olmo3, system=_OLMO_31), "olmo3"),
    "olmo3-think": (partial(olmo.olmo3_think, system=_OLMO_31), "olmo3-think"),
    "olmo3-32b-think": (partial(olmo.olmo3_think, system=_ASSISTANT), "olmo3-think"),
    "gemma4": (gemma.gemma4, "gemma4"),
    "gemma4-small": (gemma.gemma4, "gemma4"),
    "gemma4-large": (partial(gemma.gemma4, thoughtless=_NO_THOUGHTS), "gemma4"),
    "functiongemma": (gemma.function_gemma, "functiongemma"),
    "glm-4.7": (glm.glm47, "glm-4.7"),
    "glm-ocr": (glm.glm_ocr, "glm-ocr"),
    "lfm2": (lfm.lfm2, "lfm2"),
    "lfm2-thinking": (lfm.lfm2_thinking, "lfm2-thinking"),
}


def default_parser(renderer: str) -> str:
    """The parser of a model whose configuration names none; empty for an unknown renderer."""
    return RENDERERS[renderer][1] if renderer in RENDERERS else ""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A renderer as a template. ``name`` is a key of ``RENDERERS``."""

    name: str
    bos: str = ""

    leaves_open: ClassVar[bool] = False

    def render(
        self,
        messages: Sequence[Turn],
        *,
        tools: Sequence[Turn] | None = None,
        add_generation_prompt: bool = True,
        enable_thinking: bool | None = None,
        think_level: str = "",
        **extra: Any,
    ) -> str:
        """The prompt for ``messages``. Raises InvalidRequest for tools that have no name."""
        render, _ = RENDERERS[self.name]
        talk = Talk(
            turns=messages,
            tools=tools or (),
            thinks=enable_thinking,
            level=think_level,
            goes_on=add_generation_prompt,
            bos=self.bos,
        )
        try:
            return render(talk)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # schemas of tools are the client's and may be anything
            raise InvalidRequest(f"the renderer {self.name} refused: {error!r:.200}") from error
