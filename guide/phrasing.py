"""Ways in which a question can be put: typing errors, manners, missing words, other words."""

import random
import re
from collections.abc import Callable

_OPENERS = (
    "hi, ", "hello, ", "hey, ", "hi! ", "hello! ", "please ", "ok, ", "so ", "and ", "um, ", "well, ",
    "please tell me: ", "quick question: ", "question: ", "one more thing: ", "I wonder, ",
    "can you tell me ", "could you tell me: ", "do you know ", "I'd like to know: ", "sorry, but ",
    "I am new here. ", "I'm a beginner, ", "help: ", "need help: ", "@guide ", "guide, ", "hey guide, ",
    "Good morning. ", "in Cama, ", "with cama: ", "cama: ", "Cama question: ", "for Cama, ",
    "I can't find this in the docs: ", "explain: ", "in short: ", "my boss asks: ",
)  # fmt: skip
_CLOSERS = (
    " please", " please?", ", please", " thanks", " thanks!", ", thank you", " thx", "??", "?!", "...", "!",
    " in cama", " in Cama?", " with cama", " with Cama?", " here", " on my machine", " on linux", " now", " again",
    " exactly", " quickly", " I forgot", ", any idea?", ", how?", " - help", " (new user)", " for me",
)  # fmt: skip
_SAME = (
    ("how do i", "how can i", "how to", "how would i", "how does one", "what is the way to",
     "what's the command to", "what is the best way to", "i want to", "i need to", "i'd like to", "can i",
     "is it possible to", "is there a way to", "tell me how to", "show me how to", "explain how to", "how should i"),
    ("what is", "what's", "explain", "tell me about", "describe", "what does it mean:", "define", "what exactly is"),
    ("where is", "where do i find", "where can i find", "where's", "in which place is", "where does it keep"),
    ("can it", "does it", "is it able to", "will it"),
    ("does cama", "can cama", "is cama able to", "will cama"),
    ("delete", "remove", "get rid of", "erase", "drop", "throw away", "wipe"),
    ("list", "show", "see", "display", "print", "view", "look at"),
    ("start", "launch", "run", "fire up", "begin", "boot"),
    ("stop", "end", "quit", "terminate", "shut down", "kill", "halt"),
    ("change", "set", "modify", "adjust", "alter", "configure", "edit"),
    ("use", "work with", "employ", "make use of"),
    ("make", "create", "build", "generate"),
    ("fix", "solve", "repair", "resolve", "cure"),
    ("model", "llm", "language model", "network"),
    ("models", "llms", "language models"),
    ("machine", "computer", "pc", "laptop", "box", "host"),
    ("folder", "directory", "path", "place"),
    ("command", "cmd", "instruction"),
    ("setting", "option", "variable", "parameter", "config"),
    ("memory", "ram"),
    ("error", "problem", "failure", "message"),
    ("fast", "quick", "speedy"), ("slow", "sluggish", "laggy"),
    ("import", "load in", "bring in", "add"),
    ("answer", "reply", "response", "output"),
    ("question", "prompt", "input"),
    ("download", "fetch", "get", "pull"),
    ("file", "gguf"),
    ("does not", "doesn't", "won't", "fails to"),
    ("isn't", "is not"), ("don't", "do not"), ("can't", "cannot", "can not"),
)  # fmt: skip
_OTHERS = {word: group for group in _SAME for word in group}
_PHRASE = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _OTHERS), key=len, reverse=True)) + r")(?!\w)", re.IGNORECASE
)
_SMALL = frozenset(
    "a an the of to in for on is are do does i my me it its with by from and or that this there cama "
    "please can you be at as so what how".split()
)
_NEAR = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo",
    "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et",
    "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip


def rephrase(question: str, rng: random.Random) -> str:
    """The question as another user may type it; as it stands in one case of five."""
    if rng.random() < 0.2:
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


def _drop_a_word(text: str, rng: random.Random) -> str:
    words = text.split()
    if len(words) > 4:
        del words[rng.randrange(len(words))]
    return " ".join(words)


def _swap_words(text: str, rng: random.Random) -> str:
    words = text.split()
    if len(words) > 2:
        at = rng.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def _open(text: str, rng: random.Random) -> str:
    return rng.choice(_OPENERS) + (text if text[:2].isupper() else text[:1].lower() + text[1:])


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
    (0.35, _replace_words),
    (0.15, _drop_small_words),
    (0.15, _drop_a_word),
    (0.06, _swap_words),
    (0.2, _open),
    (0.15, _close),
    (0.4, _bare),
    (0.4, _lower),
    (0.1, _upper),
    (0.1, _no_quotes),
    (0.2, _mistype),
)
