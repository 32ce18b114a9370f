"""Small tokenizers of every kind, trained by Hugging Face's library, and saved as it does."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.convert.checkpoints import N_VOCAB

CORPUS = [
    "The quick brown fox jumps over the lazy dog, 12 times or 3456 times.",
    "We don't know what they'll do; I'd say it's fine. HELLO World's End!",
    "def main(argc):\n    return 'x' * 10\n\n\nprint(main(3))",
    "Äpfel, Öl und Straße; naïve café; 東京都 Привет мир, как дела?",
    "   spaces   and\ttabs\r\nand lines  ",
] * 4  # fmt: skip
TEXTS = [
    *CORPUS[:5],
    "",
    " ",
    "a",
    "  leading and trailing  ",
    "unseen: ☃ ツ \U0001f600 łódź",
    "1234567890 12 3",
    "I'm you're WE'VE they'Ll",
    "x = y+z; // comment\n\tif (a<=b) {...}",
    "camelCaseWordsAndUPPERCase",
    "new\nlines\n\n\nand \n mixed",
]

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTE_LEVEL = {
    "gpt-2": (None, False),
    "smollm": ("digits", False),
    "llama-bpe": (LLAMA3, True),
    "smaug-bpe": (LLAMA3, False),
    "qwen2": (QWEN2, False),
    "tekken": (TEKKEN, True),
    "gpt-4o": (GPT4O, False),
}


def byte_level(pre: str) -> Tokenizer:
    """Byte-level BPE whose words are split in libllama's way of that name."""
    pattern, ignores_merges = BYTE_LEVEL[pre]
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignores_merges))
    steps: list[Any] = []
    if pattern == "digits":
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    elif pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    is_alone = pattern in (None, "digits")
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=is_alone))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB - 4, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>", "<|turn|>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", begin)]
    )
    return tokenizer


def pieces(*, adds_space: bool) -> Tokenizer:
    """SentencePiece's BPE as Hugging Face writes it: Llama 2's adds a space, Gemma's none."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps: list[Any] = [normalizers.Prepend("▁")] if adds_space else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, show_progress=False, max_token_length=8
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = data["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def sentencepiece_model(tokenizer: Tokenizer, *, adds_space: bool) -> bytes:
    """The same vocabulary as SentencePiece keeps it: a protocol buffer."""
    data = json.loads(tokenizer.to_str())["model"]
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(data["merges"]):
        ranks.setdefault("".join(merge), rank)
    out = b""
    for text, number in sorted(data["vocab"].items(), key=lambda item: item[1]):
        kind = 2 if number == 0 else 3 if number < 3 else 6 if number < 259 else 1
        score = -float(ranks.get(text, len(ranks)))
        piece = _bytes(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind])
        out += _bytes(1, piece)
    return out + _bytes(2, b"\x18\x02") + _bytes(3, bytes([0x18, adds_space]))


def _bytes(field: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([field << 3 | 2, len(data)]) + data


def wordpiece(*, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=N_VOCAB, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ids
    )
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, **settings: Any) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def plain_ids(tokenizer: Tokenizer, text: str) -> Sequence[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids
