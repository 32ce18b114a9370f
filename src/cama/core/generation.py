"""What one generation asks for and what comes back: plain data that crosses process boundaries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from cama.core.priority import Priority

FinishReason = Literal["stop", "length"]

GrammarSyntax = Literal["gbnf", "lark", "regex"]

ConstraintKind = Literal["json", "json_schema", GrammarSyntax, "rules"]

MissReason = Literal["new", "diverged", "evicted", "adapter", "tenant", "not_resumable"]
"""Why the prefix cache did not give more of a prompt.

``new``: nothing longer was ever there. ``diverged``: a cached text goes on differently.
``evicted``: it was there, and its cells were needed. ``adapter`` and ``tenant``: it is there, for
another one. ``not_resumable``: the model's state cannot be picked up at that token.
"""


RANDOM_SEED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How logits become a token. Names, defaults and order are those of Ollama's options.

    ``temperature`` 0 is greedy; ``top_k`` <= 0, ``top_p`` 1, ``min_p`` 0, ``typical_p`` 1 and
    ``repeat_penalty`` 1 are off; ``repeat_last_n`` 0 is off and -1 is the whole context;
    ``seed`` -1 draws a random one. ``logit_bias`` is added to logits before all else.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = RANDOM_SEED
    logit_bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """What the answer must match as a whole.

    ``json`` is any JSON object and has no ``text``; a ``json_schema`` is JSON, ``regex`` is in the
    syntax of Rust's crate, ``lark`` in llguidance's, ``gbnf`` in llama.cpp's. ``rules`` are JSON:
    a grammar ``lark``, and by the names that it calls them, as ``@name``, its ``schemas``, JSON
    Schemas, and its ``grammars``, each with a ``kind`` and a ``text`` as here.
    The constraint begins behind the first ``after`` in the answer, where there is one: until then
    all is free.
    """

    kind: ConstraintKind
    text: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA in a GGUF file, added to the weights ``scale`` times; ``digest`` tells its content."""

    path: Path = field(compare=False)
    digest: str
    scale: float = 1.0


Adapters = tuple[Adapter, ...]
"""Adapters that work together, as :func:`combined` gives them: equal ones compare equal."""


def combined(adapters: Iterable[Adapter]) -> Adapters:
    """Each file once, with the sum of its scales, in one order; what has no effect is left out."""
    found: dict[str, Adapter] = {}
    for adapter in adapters:
        known = found.get(adapter.digest)
        scale = adapter.scale + (known.scale if known else 0.0)
        found[adapter.digest] = replace(adapter, scale=scale)
    return tuple(found[digest] for digest in sorted(found) if found[digest].scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One prompt to continue.

    ``num_predict`` <= 0 means no limit of its own; ``num_keep`` < 0 keeps the whole prompt.
    ``truncate``: an over-long prompt is cut (and the cut reported) instead of refused.
    ``shift``: a full context window drops its oldest tokens instead of ending with ``length``.
    ``add_special``: put the model's own BOS in front where the model wants one.
    ``adapters`` are added to the model's weights, for this prompt alone. Prompts share a prefix
    only where the adapters and the opaque ``tenant`` are equal.
    An answer cut at ``num_predict`` or at a stop string need not match its ``constraint``.
    ``logprobs``: -1 gives none, 0 the log-probability of each token of the answer, n those of the n
    most probable tokens in its place as well. ``echo`` gives them for the prompt too: each token
    but the first, given those before it. What is taken from the cache has no logits, so such a
    prompt is computed in full.
    ``visible``: control tokens, by their names, that count as text; others add none to the answer.
    ``heal``: the answer may retake the last tokens of the prompt. It begins with their text, which
    it does not give again, and so perhaps with a longer token that the prompt's end cut short.
    ``speculate``: several tokens may be guessed and checked in one pass, which changes the time
    that an answer takes and not its text; None leaves it to the temperature, and to the draft model
    if one is loaded. That guesses at most ``num_draft`` tokens at a time, None leaves it to Cama.
    ``priority`` says who is served first: it changes when an answer comes, and not its text.
    ``images``, in base64, stand in the prompt where it says ``[img-0]``, ``[img-1]`` and so on.
    """

    prompt: str | tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    num_predict: int = -1
    num_keep: int = 4
    truncate: bool = True
    shift: bool = True
    add_special: bool = True
    adapters: Adapters = ()
    tenant: str = ""
    constraint: Constraint | None = None
    logprobs: int = -1
    visible: tuple[str, ...] = ()
    echo: bool = False
    heal: bool = False
    speculate: bool | None = None
    num_draft: int | None = None
    priority: Priority = "interactive"
    images: tuple[str, ...] = ()

    @property
    def adapter(self) -> str:
        """What tells these adapters from others: their content and scales."""
        return " ".join(f"{one.digest}*{one.scale!r}" for one in self.adapters)


def choices(generation: Generation, n: int) -> tuple[Generation, ...]:
    """``generation`` for each of ``n`` answers, which differ in their random numbers alone.

    Handed over at once, their prompt is computed once. A seed gives the i-th answer the seed that
    lies i behind it; without one, each draws its own.
    """
    sampling = generation.sampling
    if sampling.seed == RANDOM_SEED:
        return (generation,) * n
    seeds = range(sampling.seed, sampling.seed + n)
    # One that would mean a random seed gives way to the one behind the last.
    distinct = [seeds.stop if seed == RANDOM_SEED else seed for seed in seeds]
    return tuple(replace(generation, sampling=replace(sampling, seed=seed)) for seed in distinct)


LEAST_LOGPROB = -9999.0
"""Stands for what is lower, minus infinity above all, which JSON cannot say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logprob:
    """How probable a token was: the natural logarithm of the softmax over the model's own logits.

    That is before bias, penalties, constraint, temperature and truncation. ``piece`` are the bytes
    that the token adds to the text; ``top`` are the most probable tokens in its place, best first,
    and it need not be one of them.
    """

    token: int
    piece: bytes
    logprob: float
    top: tuple["Logprob", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of the answer, made of ``n_tokens``: whole characters, no part of a stop string.

    ``logprobs`` are those of the tokens whose text begins here; tokens that a stop string removes
    have none, nor has the end. ``prompt_logprobs`` come in order before any text.
    """

    text: str
    n_tokens: int
    logprobs: tuple[Logprob, ...] = ()
    prompt_logprobs: tuple[Logprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The end of an answer and its accounts; nothing is silent.

    ``prompt_tokens`` counts what was evaluated or reused after truncation, ``cached_tokens`` how
    many of those came from the prefix cache, ``truncated_tokens`` how many of the prompt were cut,
    ``shifted_tokens`` how many the context window dropped while generating.

    ``restored_tokens`` of the cached ones were read from disk for this request; ``miss_reason``
    says why no more were cached, None when all but the last were, and ``diverged_at`` is the index
    of the first prompt token that differs. ``queue_seconds`` is from arrival to start;
    ``prefill_seconds`` and ``decode_seconds`` were spent in passes that read its prompt or computed
    its next token, ``sampling_seconds`` in choosing tokens. ``decode_passes`` gave the answer's
    tokens; in them ``proposed_tokens`` were guessed, of which ``accepted_tokens`` were right.
    ``stop_string`` is the one of the request that ended the answer, empty when none did.
    """

    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    truncated_tokens: int
    shifted_tokens: int
    eval_tokens: int
    prompt_seconds: float
    eval_seconds: float
    restored_tokens: int = 0
    miss_reason: MissReason | None = None
    diverged_at: int | None = None
    queue_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    sampling_seconds: float = 0.0
    decode_passes: int = 0
    proposed_tokens: int = 0
    accepted_tokens: int = 0
    stop_string: str = ""


Event = Chunk | Finish
