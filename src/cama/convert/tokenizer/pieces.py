"""SentencePiece's vocabularies: Llama 1 and 2, Mistral 7B, Gemma, Phi 3."""

from pathlib import Path
from typing import Final

from cama.convert.config import Config
from cama.convert.tokenizer.bpe import read_merges
from cama.convert.tokenizer.sentencepiece import read_model
from cama.convert.tokenizer.vocabulary import (
    Kind,
    Token,
    Vocabulary,
    added_tokens,
    byte_or_normal,
    numbered,
)

_SPACE: Final = "▁"


def pieces_of_model(path: Path, tokenizer: Config | None, settings: Config) -> Vocabulary:
    """From tokenizer.model, and the tokens that the JSON files add to it."""
    model = read_model(path)
    tokens = dict(enumerate(model.tokens))
    if tokenizer is not None:
        tokens |= _kept_kinds(tokens, added_tokens(tokenizer))
    elif settings.has("added_tokens_decoder"):
        entries = settings.part("added_tokens_decoder").values
        listed = [{"id": int(n), **e} for n, e in entries.items() if n.isdecimal()]
        tokens |= _kept_kinds(tokens, added_tokens(Config({"added_tokens": listed})))
    return _vocabulary(tokens, adds_space=model.adds_space)


def pieces_of_json(tokenizer: Config) -> Vocabulary:
    """From tokenizer.json alone, where a piece scores as high as it is merged early."""
    model = tokenizer.part("model")
    model.require(model.flag("byte_fallback", False), "BPE without bytes to fall back to")
    merges = read_merges(model)
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", ""), rank)
    unknown = model.values.get("unk_token")
    tokens = {
        number: Token(
            text,
            Kind.UNKNOWN if text == unknown else byte_or_normal(text),
            -float(ranks.get(text, len(merges))),
        )
        for number, text in numbered(model.part("vocab").values).items()
    }
    tokens |= _kept_kinds(tokens, added_tokens(tokenizer))
    return _vocabulary(tokens, adds_space=_adds_space(tokenizer))


def _kept_kinds(tokens: dict[int, Token], added: dict[int, Token]) -> dict[int, Token]:
    """Added tokens; what stands for the unknown, and bytes, stay what they are."""
    return {
        number: token
        for number, token in added.items()
        if number not in tokens or tokens[number].kind not in (Kind.UNKNOWN, Kind.BYTE)
    }


def _vocabulary(tokens: dict[int, Token], *, adds_space: bool) -> Vocabulary:
    return Vocabulary(
        model="llama",
        pre="default",
        tokens=tokens,
        has_scores=True,
        extra={"tokenizer.ggml.add_space_prefix": adds_space},
    )


def _adds_space(tokenizer: Config) -> bool:
    """Whether a text begins with a space that nobody wrote."""
    steps = [tokenizer.part("normalizer"), tokenizer.part("pre_tokenizer")]
    for step in list(steps):
        steps += [*step.parts("normalizers"), *step.parts("pretokenizers")]
    for step in steps:
        kind = step.values.get("type")
        if kind == "Prepend" and step.values.get("prepend") == _SPACE:
            return True
        if kind == "Metaspace" and step.text("prepend_scheme", "always") != "never":
            return step.flag("add_prefix_space", True)
    return False
