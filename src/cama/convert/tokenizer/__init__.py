"""A checkpoint's tokenizer as the keys of a GGUF file."""

from cama.convert.checkpoint import Checkpoint
from cama.convert.config import Config
from cama.convert.tokenizer.bpe import byte_level
from cama.convert.tokenizer.pieces import pieces_of_json, pieces_of_model
from cama.convert.tokenizer.special import special_keys
from cama.convert.tokenizer.vocabulary import Vocabulary
from cama.convert.tokenizer.wordpiece import wordpiece, words_of_list
from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.gguf import Writable


def read_tokenizer(checkpoint: Checkpoint, config: Config, n_vocab: int) -> dict[str, Writable]:
    """Keys of a vocabulary of exactly ``n_vocab`` tokens, as many as the model has embeddings.

    Raises InvalidModelFile, and UnsupportedModel on a tokenizer that libllama has not.
    """
    vocabulary = _read(checkpoint, config).sized(n_vocab)
    return vocabulary.keys() | special_keys(checkpoint, config, vocabulary)


def _read(checkpoint: Checkpoint, config: Config) -> Vocabulary:
    tokenizer = checkpoint.json("tokenizer.json")
    settings = checkpoint.json("tokenizer_config.json") or Config({})
    kind = tokenizer.part("model").text("type", "") if tokenizer else ""
    if tokenizer is not None and kind == "WordPiece":
        return wordpiece(tokenizer, config)
    if tokenizer is not None and kind == "BPE" and _is_byte_level(tokenizer):
        return byte_level(tokenizer)
    if path := checkpoint.files.get("tokenizer.model"):
        return pieces_of_model(path, tokenizer, settings)
    if tokenizer is not None and kind == "BPE":
        return pieces_of_json(tokenizer)
    if path := checkpoint.files.get("vocab.txt"):
        return words_of_list(path, settings, config)
    if tokenizer is None:
        raise InvalidModelFile(
            "there is no tokenizer.json, tokenizer.model or vocab.txt", field="tokenizer.json"
        )
    raise UnsupportedModel(f"tokenizer.json: tokenizers of the kind {kind!r} are not supported")


def _is_byte_level(tokenizer: Config) -> bool:
    """Whether tokens are bytes in disguise; only then one step or the decoder is ByteLevel."""
    steps = [tokenizer.part("pre_tokenizer"), tokenizer.part("decoder")]
    for step in list(steps):
        steps += [*step.parts("pretokenizers"), *step.parts("decoders")]
    return any(step.values.get("type") == "ByteLevel" for step in steps)
