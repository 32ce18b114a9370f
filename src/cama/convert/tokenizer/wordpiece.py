"""WordPiece: BERT's vocabularies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cama.convert.config import Config
from cama.convert.tokenizer.vocabulary import Kind, Token, Vocabulary, added_tokens, numbered
from cama.core.errors import InvalidModelFile
from cama.gguf import U32, Writable

_CONTINUED: Final = "##"
_WORD: Final = "▁"
_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MAX_BYTES: Final = 64 << 20


def wordpiece(tokenizer: Config, config: Config) -> Vocabulary:
    """From tokenizer.json."""
    model = tokenizer.part("model")
    prefix = model.text("continuing_subword_prefix", _CONTINUED)
    model.require(prefix == _CONTINUED, f"continuing_subword_prefix {prefix!r}")
    normalizer = tokenizer.part("normalizer")
    kind = normalizer.text("type", "")
    normalizer.require(kind == "BertNormalizer", f"the normalizer {kind!r}")
    special = added_tokens(tokenizer)
    lowers = normalizer.flag("lowercase", True)
    texts = numbered(model.part("vocab").values)
    return _vocabulary(texts, special, config, lowers, normalizer.flag("strip_accents", lowers))


def words_of_list(path: Path, settings: Config, config: Config) -> Vocabulary:
    """From vocab.txt, with one token on each line."""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise InvalidModelFile("vocab.txt is too large", path=str(path), field="vocab.txt")
    texts = dict(enumerate(data.decode(errors="replace").removesuffix("\n").split("\n")))
    special = {
        number: Token(text, Kind.CONTROL) for number, text in texts.items() if text in _SPECIAL
    }
    lowers = settings.flag("do_lower_case", True)
    return _vocabulary(texts, special, config, lowers, settings.flag("strip_accents", lowers))


def _vocabulary(
    texts: Mapping[int, str],
    special: Mapping[int, Token],
    config: Config,
    lowers: bool,
    strips: bool,
) -> Vocabulary:
    tokens = {number: Token(_marked(text)) for number, text in texts.items()}
    extra: dict[str, Writable] = {
        "tokenizer.ggml.token_type_count": U32(config.integer("type_vocab_size", 2)),
        "tokenizer.ggml.normalizer.lowercase": lowers,
        "tokenizer.ggml.normalizer.strip_accents": strips,
    }
    return Vocabulary(model="bert", pre="default", tokens={**tokens, **special}, extra=extra)


def _marked(text: str) -> str:
    """libllama marks where words begin, BERT where they go on."""
    if text.startswith("[") and text.endswith("]"):
        return text
    return text.removeprefix(_CONTINUED) if text.startswith(_CONTINUED) else _WORD + text
