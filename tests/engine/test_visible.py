"""Control tokens that count as text where a request wants to see them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cama.core.generation import Constraint
from cama.engine.constraint.compiler import Compiler
from cama.engine.tokenizer import LlamaTokenizer
from cama.engine.visible import visible_pieces, with_visible
from cama.gguf import GGUFFile
from cama.gguf.values import Array, ValueType
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

CONTROL, USER_DEFINED = 3, 4
NAMES = ("<tool_call>", "<plain>", "no token of its own", "")


@pytest.fixture
def tokenizer(tiny_model: Callable[..., Path], tmp_path: Path) -> Iterator[LlamaTokenizer]:
    """Token 259 is the control token ``<tool_call>``, 260 is ``<plain>``, which is text."""
    source = tiny_model("llama", "F16")
    with GGUFFile.open(source) as file:
        tokens = list(file.get("tokenizer.ggml.tokens", []))
        types = list(file.get("tokenizer.ggml.token_type", []))
    tokens[259:261] = ["<tool_call>", "<plain>"]
    types[259:261] = [CONTROL, USER_DEFINED]
    changes: dict[str, Any] = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": Array(ValueType.INT32, types),
    }
    with LlamaTokenizer(rewrite(source, tmp_path / "marked.gguf", changes)) as tokenizer:
        yield tokenizer


def test_only_control_tokens_are_made_visible(tokenizer: LlamaTokenizer) -> None:
    visible = visible_pieces(tokenizer, NAMES)
    assert visible == {259: b"<tool_call>"}
    piece = with_visible(tokenizer.piece, visible)
    assert (piece(259), tokenizer.piece(259)) == (b"<tool_call>", b"")
    assert piece(260) == tokenizer.piece(260) == b"<plain>"


def test_a_grammar_lets_visible_tokens_pass(tokenizer: LlamaTokenizer) -> None:
    compiler = Compiler(tokenizer, tokenizer.n_tokens)
    rules = {"lark": 'start: "<tool_call>" @a', "schemas": {"a": {"type": "object"}}}
    text = json.dumps({**rules, "grammars": {}})
    constraint = Constraint(kind="rules", text=text)
    visible = visible_pieces(tokenizer, NAMES)
    guard = compiler.guard(constraint, visible)
    assert guard.allows(259)
    guard.accept(259)
    assert not guard.allows(259)
    assert not compiler.guard(constraint).allows(259)
