"""The byte-level BPE vocabulary, and conversations as tokens."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from cama.gguf import GGUFFile

SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (SYSTEM, USER, ASSISTANT, END)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by their ids, the special ones last, and the merges in their order."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> "Vocabulary":
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        trainer = BpeTrainer(
            vocab_size=size - len(SPECIAL),
            min_frequency=2,
            initial_alphabet=sorted(ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        ids = tokenizer.get_vocab()
        tokens = tuple(sorted(ids, key=ids.__getitem__))
        # The trainer's own record of merges, in order: what GGUF needs as well.
        merges = _merges(tokenizer)
        return cls(tokens + SPECIAL, merges)

    @classmethod
    def of_gguf(cls, path: Path) -> "Vocabulary":
        with GGUFFile.open(path) as file:
            tokens = tuple(file.get("tokenizer.ggml.tokens"))
            merges = tuple(
                (left, right)
                for left, right in (m.split(" ") for m in file.get("tokenizer.ggml.merges"))
            )
        return cls(tokens, merges)

    def __len__(self) -> int:
        return len(self.tokens)

    def tokenizer(self, dropout: float = 0.0) -> Tokenizer:
        ids = {token: number for number, token in enumerate(self.tokens)}
        tokenizer = Tokenizer(BPE(ids, list(self.merges), dropout=dropout or None))
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
        return tokenizer


def _merges(tokenizer: Tokenizer) -> tuple[tuple[str, str], ...]:
    return tuple((left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"])
