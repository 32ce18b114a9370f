"""Ways in which a question can be put: typing errors, manners, missing words, other words."""

import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_PHRASES: Final[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "phrases.toml").read_text()
)
_OPENERS: Final[list[str]] = _PHRASES["openers"]
_CLOSERS: Final[list[str]] = _PHRASES["closers"]
_NEAR: Final[dict[str, str]] = _PHRASES["near"]
_SMALL: Final = frozenset(_PHRASES["small_words"])
_OTHERS: Final[dict[str, list[str]]] = {word: group for group in _PHRASES["same"] for word in group}
_PHRASE: Final = re.compile(
    rf"\b({'|'.join(map(re.escape, sorted(_OTHERS, key=len, reverse=True)))})(?!\w)", re.IGNORECASE
)


def rephrase(question: str, rng: random.Random) -> str:
    """The question as another user may type it; as it stands in one of four cases."""
    if rng.random() < 0.25:
        return question
    for chance, change in _CHANGES:
        if rng.random() < chance:
            question = change(question, rng)
    return question


def _replace_words(text: str, rng: random.Random) -> str:
    def other(match: re.Match[str]) -> str:
        found = match[0]
        return rng.choice(_OTHERS[found.lower()]) if rng.random() < 0.5 else found

    return _PHRASE.sub(other, text)


def _drop_small_words(text: str, rng: random.Random) -> str:
    kept = [word for word in text.split() if word.lower() not in _SMALL or rng.random() < 0.5]
    return " ".join(kept) or text


def _drop_words(text: str, rng: random.Random) -> str:
    words = text.split()
    share = rng.choice((0.1, 0.2, 0.3))
    kept = [word for word in words if rng.random() >= share]
    return " ".join(kept) if len(kept) > 2 else text


def _move_words(text: str, rng: random.Random) -> str:
    """Each word goes two places at most: what is asked rarely depends on the order of words."""
    words = text.split()
    places = [i + rng.uniform(0, 2.5) for i in range(len(words))]
    return " ".join(word for _, word in sorted(zip(places, words, strict=True)))


def _open(text: str, rng: random.Random) -> str:
    is_name = text[:2].isupper()
    return rng.choice(_OPENERS) + (text if is_name else text[:1].lower() + text[1:])


def _close(text: str, rng: random.Random) -> str:
    return text.rstrip("?.! ") + rng.choice(_CLOSERS)


def _mistype(text: str, rng: random.Random) -> str:
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        places = [i for i, letter in enumerate(text) if letter.lower() in _NEAR]
        if not places:
            return text
        at = rng.choice(places)
        letter = text[at]
        wrong = (
            "",
            letter * 2,
            rng.choice(_NEAR[letter.lower()]),
            letter + rng.choice(_NEAR[letter.lower()]),
            text[at + 1 : at + 2] + letter,
        )
        kind = rng.randrange(len(wrong))
        text = text[:at] + wrong[kind] + text[at + (2 if kind == 4 else 1) :]
    return text


def _lower(text: str, rng: random.Random) -> str:
    return text.lower()


def _upper(text: str, rng: random.Random) -> str:
    return text.upper() if rng.random() < 0.1 else text[:1].upper() + text[1:]


def _bare(text: str, rng: random.Random) -> str:
    return text.rstrip("?.! ")


def _no_quotes(text: str, rng: random.Random) -> str:
    return re.sub(r"[`'\",;:()]", "", text)


_CHANGES: tuple[tuple[float, Callable[[str, random.Random], str]], ...] = (
    (0.4, _replace_words),
    (0.2, _drop_small_words),
    (0.3, _drop_words),
    (0.15, _move_words),
    (0.2, _open),
    (0.15, _close),
    (0.4, _bare),
    (0.4, _lower),
    (0.1, _upper),
    (0.1, _no_quotes),
    (0.2, _mistype),
)
