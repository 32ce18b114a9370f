"""Byte-level BPE: GPT-2's, Llama 3's, Qwen's, Mistral's Tekken."""

from cama.convert.config import Config
from cama.convert.tokenizer.splits import find_splits
from cama.convert.tokenizer.vocabulary import Token, Vocabulary, added_tokens, numbered
from cama.core.errors import InvalidModelFile


def byte_level(tokenizer: Config) -> Vocabulary:
    """From tokenizer.json. Raises InvalidModelFile and UnsupportedModel."""
    model = tokenizer.part("model")
    tokens = {number: Token(text) for number, text in numbered(model.part("vocab").values).items()}
    return Vocabulary(
        model="gpt2",
        pre=find_splits(tokenizer),
        tokens=tokens | added_tokens(tokenizer),
        merges=tuple(read_merges(model)),
    )


def read_merges(model: Config) -> list[str]:
    """Pairs as ``left right``; files have them so, or as lists of two."""
    merges = model.values.get("merges")
    if not isinstance(merges, list):
        raise InvalidModelFile("tokenizer.json: merges are missing", field="merges")
    texts = [" ".join(m) if _is_pair(m) else m for m in merges]
    if not all(isinstance(text, str) and text.count(" ") == 1 for text in texts):
        raise InvalidModelFile("tokenizer.json: a merge is no pair of tokens", field="merges")
    return texts


def _is_pair(merge: object) -> bool:
    return isinstance(merge, list) and all(isinstance(part, str) for part in merge)
