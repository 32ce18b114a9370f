"""``cama verify``: both engines on the same text, and whether they say the same."""

import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from cama.cli.reference import model_reference
from cama.cli.sample import SAMPLE
from cama.cli.table import table
from cama.core.comparison import TOLERANCE, Comparison, LogitComparison, Verdict
from cama.core.errors import InvalidOption
from cama.core.load import CACHE_TYPES, CacheType, LoadOptions
from cama.core.settings import Settings
from cama.runner.verify import MAX_TOKENS, Side, Verification, verify
from cama.store.store import Store

_WORDS: dict[Verdict, str] = {
    "equal": "are equal to the last bit",
    "agree": "agree within the tolerance",
    "differ": "differ by more than the tolerance",
}
_LABELS = {
    "n_tokens": "tokens",
    "n_decoded": "of them one by one",
    "n_texts": "texts",
    "max_difference": "largest difference",
    "mean_difference": "mean difference",
    "max_divergence": "largest KL divergence",
    "mean_divergence": "mean KL divergence",
    "min_cosine": "smallest cosine",
    "agreement": "same greedy token",
    "perplexity": "perplexity",
    "reference_perplexity": "perplexity of the reference",
}
_SIDES: dict[str, Side] = {"native": "native", "llama": "llama"}
_CACHES: dict[str, CacheType] = {kind: kind for kind in CACHE_TYPES}


def command(  # noqa: PLR0913, PLR0917 - one parameter per flag
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    text: Annotated[str, typer.Option("--text", help="File to read instead of our text")] = "",
    tokens: Annotated[int, typer.Option("--tokens", help="How many of its tokens to read")] = 512,
    engine: Annotated[str, typer.Option("--engine", help="Engine to check")] = "native",
    reference: Annotated[str, typer.Option("--reference", help="Engine that is right")] = "llama",
    cache: Annotated[str, typer.Option("--cache-type", help="Type of the KV cache")] = "f16",
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest mean KL divergence, or 1 - cosine")
    ] = TOLERANCE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    for name, value, known in (
        ("--engine", engine, _SIDES),
        ("--reference", reference, _SIDES),
        ("--cache-type", cache, _CACHES),
    ):
        if value not in known:
            raise InvalidOption(f"{name} must be one of {', '.join(known)}")
    if not 2 <= tokens <= MAX_TOKENS or not 0 <= tolerance < 1:
        raise InvalidOption(
            f"--tokens must be from 2 to {MAX_TOKENS}, and --tolerance from 0 to below 1"
        )
    settings = Settings.load()
    done = verify(
        Store.of(settings).get(model_reference(model)).path,
        _read(text) if text else SAMPLE,
        engine=_SIDES[engine],
        reference=_SIDES[reference],
        limit=tokens,
        load=LoadOptions(n_threads=settings.num_threads, cache_type=_CACHES[cache]),
    )
    verdict = done.comparison.verdict(tolerance)
    if as_json:
        print(json.dumps(_facts(model, done, verdict, tolerance)))
    else:
        sys.stdout.write(_report(model, done, verdict, tolerance))
    if verdict == "differ":
        raise typer.Exit(1)


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidOption(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidOption(f"{name} is not UTF-8 text") from None


def _facts(model: str, done: Verification, verdict: Verdict, tolerance: float) -> dict[str, object]:
    return {
        "model": model,
        "architecture": done.architecture,
        "engine": done.engine,
        "reference": done.reference,
        **asdict(done.comparison),
        "tolerance": tolerance,
        "verdict": verdict,
    }


def _report(model: str, done: Verification, verdict: Verdict, tolerance: float) -> str:
    head = f"{model} ({done.architecture}): {done.engine} beside {done.reference}\n\n"
    measure = "mean KL divergence" if isinstance(done.comparison, LogitComparison) else "1 - cosine"
    end = f"\nThe engines {_WORDS[verdict]} ({measure} of at most {tolerance:g}).\n"
    return head + table(("FIGURE", "VALUE"), _rows(done.comparison)) + end


def _rows(comparison: Comparison) -> list[tuple[str, str]]:
    return [
        (_LABELS[item.name], f"{getattr(comparison, item.name):.6g}") for item in fields(comparison)
    ]
