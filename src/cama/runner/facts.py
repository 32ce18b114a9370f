"""Facts about a loaded model that the server asks for."""

from pathlib import Path

import psutil

from cama.engine.base import Engine
from cama.gguf import GGUFFile
from cama.runner.protocol import RunnerInfo

_TOKENS = "tokenizer.ggml.tokens"
_EOS = "tokenizer.ggml.eos_token_id"
_RANK_TEMPLATE = "tokenizer.chat_template.rerank"


def describe(path: Path, engine: Engine, load_seconds: float) -> RunnerInfo:
    """What the server knows of this runner."""
    info = engine.info
    bos, eos = special_texts(path, engine.tokenizer.bos)
    with GGUFFile.open(path) as file:
        rank_template = file.get(_RANK_TEMPLATE, "")
    return RunnerInfo(
        engine=info.engine,
        reason=info.reason,
        architecture=info.architecture,
        n_ctx=info.n_ctx,
        n_ctx_train=info.n_ctx_train,
        n_cells=info.n_cells,
        n_vocab=info.n_vocab,
        bos_text=bos,
        eos_text=eos,
        load_seconds=load_seconds,
        rss_bytes=psutil.Process().memory_info().rss,
        rank_template=rank_template if isinstance(rank_template, str) else "",
    )


def special_texts(path: Path, bos: int | None) -> tuple[str, str]:
    """The texts of the BOS and EOS tokens, as templates write them; empty where there is none."""
    with GGUFFile.open(path) as file:
        tokens, eos = file.get(_TOKENS, []), file.get(_EOS)
    return _text(tokens, bos), _text(tokens, eos)


def _text(tokens: object, token: object) -> str:
    if not isinstance(tokens, list) or not isinstance(token, int):
        return ""
    return str(tokens[token]) if 0 <= token < len(tokens) else ""
