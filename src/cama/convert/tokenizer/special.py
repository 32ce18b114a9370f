"""Tokens with a meaning of their own, and the template of conversations."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cama.convert.checkpoint import Checkpoint
from cama.convert.config import Config, read_json
from cama.convert.tokenizer.vocabulary import Vocabulary
from cama.core.errors import InvalidModelFile
from cama.gguf import U32, Writable

_NAMES: Final = {
    "bos": "bos",
    "eos": "eos",
    "unk": "unknown",
    "pad": "padding",
    "sep": "seperator",  # as GGUF spells it
    "cls": "cls",
    "mask": "mask",
}
_MAX_TEMPLATE_BYTES: Final = 1 << 20


def special_keys(
    checkpoint: Checkpoint, config: Config, vocabulary: Vocabulary
) -> dict[str, Writable]:
    """Ids of special tokens, whether they are added to texts, and the chat template."""
    settings = checkpoint.json("tokenizer_config.json") or Config({}, "tokenizer_config.json")
    special = checkpoint.json("special_tokens_map.json") or Config({}, "special_tokens_map.json")
    generation = checkpoint.json("generation_config.json") or Config({}, "generation_config.json")
    ids: dict[str, int] = {}
    for name in _NAMES:
        found = _by_text(vocabulary, settings, special, f"{name}_token")
        if found is None and name in ("bos", "eos", "pad"):
            found = next(iter(_by_number(config, f"{name}_token_id", vocabulary)), None)
        if found is not None:
            ids[name] = found
    if vocabulary.model == "bert":
        ids |= {twin: ids[name] for name, twin in (("cls", "bos"), ("sep", "eos")) if name in ids}
    keys: dict[str, Writable] = {
        f"tokenizer.ggml.{_NAMES[name]}_token_id": U32(number) for name, number in ids.items()
    }
    for number in _by_number(generation, "eos_token_id", vocabulary):
        if number != ids.get("eos"):
            keys.setdefault("tokenizer.ggml.eot_token_id", U32(number))
    keys |= _added(checkpoint.json("tokenizer.json"), settings, vocabulary, ids)
    return keys | _template(checkpoint, settings)


def _by_text(vocabulary: Vocabulary, settings: Config, special: Config, key: str) -> int | None:
    for source in (settings, special):
        value = source.values.get(key)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str) and (found := vocabulary.id_of(text)) is not None:
            return found
    return None


def _by_number(config: Config, key: str, vocabulary: Vocabulary) -> Iterator[int]:
    value = config.values.get(key)
    for number in value if isinstance(value, list) else [value]:
        if type(number) is int and 0 <= number < len(vocabulary.tokens):
            yield number


def _added(
    tokenizer: Config | None, settings: Config, vocabulary: Vocabulary, ids: Mapping[str, int]
) -> dict[str, Writable]:
    """Whether a text gets a token in front and behind. What the files say outright counts, then
    what tokenizer.json does, then what is usual."""
    if vocabulary.model == "bert":
        return {}
    first, last = _frame(tokenizer, vocabulary) if tokenizer else (None, None)
    is_usual = vocabulary.model == "llama" and tokenizer is None
    adds_bos = (first is not None and first == ids.get("bos")) or is_usual
    adds_eos = last is not None and last == ids.get("eos")
    return {
        "tokenizer.ggml.add_bos_token": settings.flag("add_bos_token", adds_bos),
        "tokenizer.ggml.add_eos_token": settings.flag("add_eos_token", adds_eos),
    }


def _frame(tokenizer: Config, vocabulary: Vocabulary) -> tuple[int | None, int | None]:
    """The tokens that tokenizer.json's template puts before and behind a text."""
    step = tokenizer.part("post_processor")
    for template in (step, *step.parts("processors")):
        if template.values.get("type") == "TemplateProcessing":
            single = template.values.get("single")
            if isinstance(single, list) and single:
                return _special(single[0], vocabulary), _special(single[-1], vocabulary)
    return None, None


def _special(item: Any, vocabulary: Vocabulary) -> int | None:
    match item:
        case {"SpecialToken": {"id": str(text)}}:
            return vocabulary.id_of(text)
    return None


def _template(checkpoint: Checkpoint, settings: Config) -> dict[str, Writable]:
    """chat_template.jinja, chat_template.json, or what tokenizer_config.json has: one, or several
    with names."""
    keys: dict[str, Writable] = {}
    value = settings.values.get("chat_template")
    if path := checkpoint.files.get("chat_template.json"):
        value = read_json(path).get("chat_template", value)
    if path := checkpoint.files.get("chat_template.jinja"):
        with path.open("rb") as file:
            value = file.read(_MAX_TEMPLATE_BYTES + 1).decode(errors="replace")
    if isinstance(value, list):
        named = {t.get("name"): t.get("template") for t in value if isinstance(t, dict)}
        for name, text in named.items():
            if isinstance(name, str) and isinstance(text, str) and name.isidentifier():
                key = "" if name == "default" else f".{name}"
                keys[f"tokenizer.chat_template{key}"] = text
    elif isinstance(value, str) and value:
        keys["tokenizer.chat_template"] = value
    if any(isinstance(text, str) and len(text) > _MAX_TEMPLATE_BYTES for text in keys.values()):
        raise InvalidModelFile("the chat template is too long", field="chat_template")
    return keys
