"""Which of libllama's ways to split text into words a tokenizer has, by its own patterns."""

from collections.abc import Iterator
from typing import Final

from cama.convert.config import Config
from cama.core.errors import UnsupportedModel

_GPT2: Final = "gpt2"
_DIGITS: Final = "digits"

_CONTRACTIONS: Final = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL: Final = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3: Final = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_TAIL}"
)
_QWEN2: Final = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_QWEN35: Final = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_TAIL}"
)
_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
    rf"|\p{{N}}%s| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}"
)
_TEKKEN: Final = _CASED % ("", "", "")
_GPT4O: Final = _CASED % (f"{_CONTRACTIONS}?", f"{_CONTRACTIONS}?", "{1,3}")
_GPT2_PATTERN: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# (patterns in their order, whether whole words of the vocabulary are taken without merging)
_NAMES: Final = {
    ((_GPT2,), False): "gpt-2",
    ((_DIGITS, _GPT2), False): "smollm",
    ((_LLAMA3,), True): "llama-bpe",
    ((_LLAMA3,), False): "smaug-bpe",
    ((_QWEN2,), False): "qwen2",
    ((_QWEN35,), False): "qwen35",
    ((_TEKKEN,), True): "tekken",
    ((_GPT4O,), False): "gpt-4o",
}


def find_splits(tokenizer: Config) -> str:
    """The value of ``tokenizer.ggml.pre``. Raises UnsupportedModel where libllama has none."""
    steps = tuple(_steps(tokenizer.part("pre_tokenizer")))
    ignores_merges = tokenizer.part("model").flag("ignore_merges", False)
    name = _NAMES.get((steps, ignores_merges))
    if name is None:
        raise UnsupportedModel(
            f"tokenizer.json: libllama does not split text as this tokenizer does: {steps!r:.200}"
        )
    return name


def _steps(step: Config) -> Iterator[str]:
    kind = step.text("type", "")
    match kind:
        case "Sequence":
            for inner in step.parts("pretokenizers"):
                yield from _steps(inner)
        case "Split":
            pattern = step.part("pattern").text("Regex", "")
            step.require(step.text("behavior", "") == "Isolated", "splits that are not isolated")
            step.require(not step.flag("invert", False), "inverted splits")
            yield _GPT2 if pattern == _GPT2_PATTERN else pattern
        case "Digits" if step.flag("individual_digits", False):
            yield _DIGITS
        case "ByteLevel":
            step.require(not step.flag("add_prefix_space", True), "add_prefix_space")
            if step.flag("use_regex", True):
                yield _GPT2
        case _:
            yield kind
