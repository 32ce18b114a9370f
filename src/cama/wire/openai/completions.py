"""POST /v1/completions: its request as ours. A prompt is continued as it is, with no template."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from cama.wire.openai.fields import COMPLETION
from cama.wire.openai.formats import read_format
from cama.wire.openai.params import Params
from cama.wire.openai.prompts import Text, read_prompts
from cama.wire.openai.sampling import include_usage, text_fields, token_limit
from cama.wire.openai.shapes import MOST_CHOICES, MOST_TOP_LOGPROBS
from cama.wire.requests import GenerateRequest

_MOST_ANSWERS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """``prompts`` are answered each by itself, by ``generate``, whose own prompt is empty.

    ``echo`` repeats the prompt in front of its answer; ``is_mute`` wants no answer behind it.
    """

    generate: GenerateRequest
    prompts: tuple[Text, ...]
    echo: bool
    is_mute: bool
    include_usage: bool
    ignored: tuple[str, ...]

    @property
    def n_answers(self) -> int:
        return len(self.prompts) * self.generate.choices

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Raises InvalidRequest and Unsupported, with the field that is wrong."""
        params = Params(data)
        COMPLETION.check(params)
        echo = params.flag("echo")
        limit = token_limit(params, "max_tokens", least=0 if echo else 1)
        request = cls(
            generate=_generate(params, limit),
            prompts=read_prompts(params, "prompt"),
            echo=echo,
            is_mute=limit == 0,
            include_usage=include_usage(params),
            ignored=tuple(params.unread()),  # evaluated last
        )
        if request.generate.suffix and (
            echo or not all(isinstance(p, str) for p in request.prompts)
        ):
            params.refuse("suffix", "goes with neither 'echo' nor token ids")
        if request.n_answers > _MOST_ANSWERS:
            params.refuse("n", f"and 'prompt' ask for more than {_MOST_ANSWERS} answers")
        return request


def _generate(params: Params, limit: int | None) -> GenerateRequest:
    choices = params.integer("n", 1, MOST_CHOICES) or 1
    best_of = params.integer("best_of", 1, MOST_CHOICES)
    if best_of is not None and best_of != choices:
        params.refuse("best_of", "must equal 'n': Cama gives all the answers that it makes")
    logprobs = params.integer("logprobs", 0, MOST_TOP_LOGPROBS)
    return GenerateRequest(
        # Nothing is generated without one token; it is made and not shown.
        **text_fields(params, limit if limit is None else max(limit, 1)),
        prompt="",
        suffix=params.text("suffix"),
        system="",
        template="",
        context=(),
        raw=True,
        images=(),
        format=read_format(params),
        think=None,
        logprobs=logprobs is not None,
        top_logprobs=logprobs or 0,
        choices=choices,
    )
