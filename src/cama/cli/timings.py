"""The timing lines of ``--verbose``."""

from collections.abc import Mapping
from typing import Any

from cama.cli import human
from cama.client.fields import integer, mapping, text

_WIDTH = 22


def timing_lines(final: Mapping[str, Any]) -> str:
    """Lines for the metrics of an answer's final object; what is zero is left out."""
    lines = [
        *_duration(final, "total"),
        *_duration(final, "load"),
        *_phase(final, "prompt eval", "prompt_eval"),
        *_cache(final),
        *_phase(final, "eval", "eval"),
        *_guesses(final),
    ]
    return "".join(f"{label + ':':<{_WIDTH}}{value}\n" for label, value in lines)


def _duration(final: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    nanoseconds = integer(final, f"{name}_duration")
    return [(f"{name} duration", human.duration(nanoseconds))] if nanoseconds > 0 else []


def _phase(final: Mapping[str, Any], label: str, key: str) -> list[tuple[str, str]]:
    count, nanoseconds = integer(final, f"{key}_count"), integer(final, f"{key}_duration")
    lines = []
    if count > 0:
        lines.append((f"{label} count", f"{count} token(s)"))
    if nanoseconds > 0:
        lines.append((f"{label} duration", human.duration(nanoseconds)))
    if count > 0 and nanoseconds > 0:
        lines.append((f"{label} rate", f"{count / (nanoseconds / 1e9):.2f} tokens/s"))
    return lines


def _cache(final: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How much of the prompt was at hand, and why not more."""
    facts = mapping(final, "cama")
    if not facts:
        return []
    cached, restored = integer(final, "prompt_cached_count"), integer(facts, "restored_count")
    value = f"{cached} token(s)"
    if restored:
        value += f", {restored} from disk"
    if reason := text(facts, "miss_reason").replace("_", " "):
        at = integer(facts, "diverged_at")
        value += f" ({reason} at {at})" if at else f" ({reason})"
    return [("prompt cache", value)]


def _guesses(final: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How many tokens were guessed ahead, and how many of them were right."""
    facts = mapping(final, "cama")
    guessed, right = integer(facts, "proposed_count"), integer(facts, "accepted_count")
    return [("guessed ahead", f"{guessed} token(s), {right} right")] if guessed > 0 else []
