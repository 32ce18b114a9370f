"""Guards made of schemas and grammars: what they allow, what is refused, and their limits."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cama.core.errors import EngineError, InvalidConstraint, Unsupported
from cama.core.generation import Constraint, ConstraintKind
from cama.engine.constraint import grammars
from cama.engine.constraint.compiler import Compiler
from cama.engine.constraint.grammars import MAX_GRAMMAR, MAX_PATTERN, MAX_SCHEMA
from cama.engine.sampling.guard import Guard
from cama.engine.tokenizer import LlamaTokenizer
from tests.engine.fake import BOS, EOG, N_VOCAB, ByteTokenizer


class ListTokenizer(ByteTokenizer):
    """The tokens are bytes, and then ``pieces``."""

    def __init__(self, pieces: Sequence[bytes], ends: Sequence[int] = ()) -> None:
        self.pieces = [*(bytes([byte]) for byte in range(256)), *pieces]
        self._ends = frozenset(ends)
        self.n_read = 0

    @property
    def end_of_generation(self) -> frozenset[int]:
        return self._ends

    def piece(self, token: int) -> bytes:
        self.n_read += 1
        return self.pieces[token]


def guard_of(kind: ConstraintKind, text: str = "", after: str = "") -> Guard:
    compiler = Compiler(ByteTokenizer(), N_VOCAB)
    return compiler.guard(Constraint(kind=kind, text=text, after=after))


def of_list(tokenizer: ListTokenizer, regex: str) -> Guard:
    compiler = Compiler(tokenizer, len(tokenizer.pieces))
    return compiler.guard(Constraint(kind="regex", text=regex))


def schema_of(value: Any) -> Guard:
    return guard_of("json_schema", json.dumps(value))


def write(guard: Guard, text: str | bytes) -> str:
    """Give ``guard`` the bytes of ``text`` as far as it allows them; returns that part."""
    data = text.encode() if isinstance(text, str) else text
    for index, byte in enumerate(data):
        if not guard.allows(byte):
            return data[:index].decode(errors="replace")
        guard.accept(byte)
    return data.decode(errors="replace")


def may_end(guard: Guard) -> bool:
    return guard.is_over or guard.allows(EOG)


INTEGER = {"type": "integer"}
PAIR = {
    "type": "object",
    "properties": {"a": INTEGER, "b": {"enum": ["x", "ü", None]}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (PAIR, '{"a": 1, "b": "ü"}'),
        (PAIR, '{"a":-12}'),
        (PAIR, '{\n  "a": 1,\n  "b": null\n}'),
        ({"type": "array", "items": INTEGER, "minItems": 2}, "[1, 2, 3]"),
        ({"type": "string", "pattern": "^[a-z]+$"}, '"abc"'),
        ({"$ref": "#/$defs/n", "$defs": {"n": INTEGER}}, "17"),
        ({"anyOf": [{"type": "integer", "multipleOf": n} for n in (10**9, 60, 86400)]}, "120"),
        ({"type": "number", "multipleOf": 0.01}, "0.07"),
        ({"type": "string"}, '"\\u00fc \\ud83d\\ude00 \\n"'),
        (True, '{"x": [null, 1e-3]}'),
    ],
)
def test_schema_allows_what_it_describes(schema: Any, text: str) -> None:
    guard = schema_of(schema)
    assert write(guard, text) == text
    assert may_end(guard)


@pytest.mark.parametrize(
    ("schema", "text", "most"),
    [
        (PAIR, '{"b": "x"', '{"'),
        (PAIR, '{"a": 1, "b": "y', '{"a": 1, "b": "'),
        (PAIR, '{"a": "', '{"a": '),
        (PAIR, ' {"a": 1}', ""),
        (PAIR, '{"a":   1}', '{"a": '),
        ({"type": "array", "items": INTEGER, "minItems": 2}, "[1]", "[1"),
        ({"type": "string", "maxLength": 2}, '"üüü', '"üü'),
        ({"type": "string"}, b'"\xff', '"'),
        ({"type": "string"}, b'"\xc3(', '"\ufffd'),
    ],
)
def test_schema_stops_what_it_does_not_describe(schema: Any, text: str | bytes, most: str) -> None:
    assert write(schema_of(schema), text) == most


def test_json_is_one_object() -> None:
    assert write(guard_of("json"), '{"a": [1, {"b": null}]} ') == '{"a": [1, {"b": null}]}'
    assert write(guard_of("json"), "[1]") == ""


def test_white_space_in_json_has_an_end() -> None:
    assert write(guard_of("json"), "{\n\n\n") == "{\n\n"
    assert len(write(guard_of("json"), "{\n" + " " * 100)) < 60


def test_schema_may_bring_options_of_its_own() -> None:
    guard = schema_of({"type": "array", "x-guidance": {"whitespace_flexible": False}})
    assert write(guard, "[1, 2]") == "[1, 2]"  # ours has the say on white space
    guard = schema_of({"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}})
    assert write(guard, "[1, 1]") == "[1, 1]"


@pytest.mark.parametrize(
    ("kind", "text", "good", "bad"),
    [
        ("regex", "[0-9]{3}/[a-f]+", "123/abc", "12/"),
        ("regex", "a\nb|ü+", "üüü", "a b"),
        ("lark", 'start: "(" start ")" | /[a-z]/', "((x))", "((1"),
        ("lark", 'start: "n" n\nn: %json {"type": "integer"}', "n42", "nx"),
        ("gbnf", 'root ::= "yes" | "no" [!?]*\n', "no!?", "ye!"),
        ("gbnf", 'root ::= item ("," item)*\nitem ::= [0-9]{1,3} # digits', "1,22,333", "1,,"),
    ],
)
def test_grammar_allows_its_language(kind: ConstraintKind, text: str, good: str, bad: str) -> None:
    guard = guard_of(kind, text)
    assert write(guard, good) == good
    assert may_end(guard)
    assert write(guard_of(kind, text), bad) != bad


def test_answer_may_end_only_when_it_is_whole() -> None:
    guard = guard_of("regex", "ab+")
    allowed = []
    for byte in b"abb":
        allowed.append(guard.allows(EOG))
        assert guard.allowed()[EOG] == allowed[-1]
        guard.accept(byte)
    assert allowed == [False, False, True]
    assert not guard.is_over


def test_answer_is_over_when_nothing_may_follow() -> None:
    guard = guard_of("regex", "ab")
    for byte in b"ab":
        assert not guard.is_over
        guard.accept(byte)
    assert guard.is_over


def test_every_token_that_ends_counts_as_an_end() -> None:
    tokenizer = ListTokenizer([b"", b"</s>", b"ab"], ends=[256, 257])
    guard = of_list(tokenizer, "a*|</s>b")
    assert [guard.allows(token) for token in (256, 257, 258)] == [True, True, False]
    assert np.flatnonzero(guard.allowed().marked()).tolist() == [ord("<"), ord("a"), 256, 257]


def test_vocabulary_without_an_end_ends_with_its_grammar() -> None:
    guard = of_list(ListTokenizer([]), "ab?")
    guard.accept(ord("a"))
    assert np.flatnonzero(guard.allowed().marked()).tolist() == [ord("b")]
    guard.accept(ord("b"))
    assert guard.is_over


def test_nothing_to_continue_with_is_an_error() -> None:
    guard = of_list(ListTokenizer([]), "(ab)?")
    with pytest.raises(EngineError, match="no token of the model can continue"):
        of_list(ListTokenizer([]), "").allowed()
    guard.accept(ord("a"))
    assert guard.allows(ord("b"))


def test_tokens_of_the_same_bytes_are_all_allowed() -> None:
    guard = of_list(ListTokenizer([b"a", b"ab", b"ab"]), "ab")
    assert np.flatnonzero(guard.allowed().marked()).tolist() == [ord("a"), 256, 257, 258]
    assert guard.allows(258)
    guard.accept(258)
    assert guard.is_over


def test_token_without_bytes_is_never_allowed() -> None:
    guard = guard_of("regex", ".*")
    assert not guard.allows(BOS)
    assert not guard.allowed()[BOS]


def test_token_may_end_within_a_character() -> None:
    guard = of_list(ListTokenizer([b"x\xc3", b"\xbcy"]), "xüy")
    assert np.flatnonzero(guard.allowed().marked()).tolist() == [ord("x"), 256]
    guard.accept(256)
    assert np.flatnonzero(guard.allowed().marked()).tolist() == [0xBC, 257]
    guard.accept(257)
    assert guard.is_over


def test_very_long_token_is_left_out() -> None:
    guard = of_list(ListTokenizer([b" " * 2000, b" " * 1024]), " *")
    assert [guard.allows(token) for token in (256, 257)] == [False, True]


def test_vocabulary_of_too_much_text_is_unsupported() -> None:
    tokenizer = ListTokenizer([b"x" * 1000] * 5000)
    with pytest.raises(Unsupported, match="too large for structured answers"):
        of_list(tokenizer, "x")


@pytest.mark.native
@pytest.mark.parametrize("name", ["llama-spm", "gpt-2"])
def test_mask_shows_what_is_allowed(shared_data: Path, name: str) -> None:
    path = shared_data / "tokenizers" / f"ggml-vocab-{name}.gguf"
    schema = {"type": "object", "properties": {"ü": {"type": "string"}}, "required": ["ü"]}
    with LlamaTokenizer(path) as tokenizer:
        compiler = Compiler(tokenizer, tokenizer.n_tokens)
        guard = compiler.guard(Constraint(kind="json_schema", text=json.dumps(schema)))
        for token in tokenizer.encode('{"ü": "aé', add_special=False, parse_special=False)[1:]:
            allowed = [guard.allows(other) for other in range(tokenizer.n_tokens)]
            assert guard.allowed().marked().tolist() == allowed
            if allowed[token]:
                guard.accept(token)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("json_schema", "{", "it is not JSON, or too deeply nested"),
        ("json_schema", "[]", "schema must be an object or boolean"),
        ("json_schema", "false", "Unsatisfiable schema: schema is false"),
        ("json_schema", '{"type": "strin"}', "Invalid type: strin"),
        ("json_schema", '{"uniqueItems": true}', 'Unimplemented keys: ["uniqueItems"]'),
        ("json_schema", '{"$ref": "#/nowhere"}', "Pointer '/nowhere' does not exist"),
        ("json_schema", '{"$ref": "#"}', "no text that the model can write matches it"),
        ("json_schema", '{"enum": ["\\ud800"]}', "unexpected end of hex escape"),
        ("json_schema", '{"items":' * 200 + "{}" + "}" * 200, "recursion limit exceeded"),
        ("json_schema", '{"items":' * 5000 + "{}" + "}" * 5000, "too deeply nested"),
        ("json_schema", json.dumps({"x": "x" * MAX_SCHEMA}), "longer than 131072 characters"),
        ("json_schema", json.dumps({"pattern": "a?" * MAX_PATTERN}), "a pattern is longer"),
        ("json_schema", json.dumps({"patternProperties": {"a" * 5000: True}}), "a pattern is long"),
        ("json_schema", '{"multipleOf": 10000019}', "a common multiple above 100000"),
        ("json_schema", '{"multipleOf": 0.31, "not": {"multipleOf": 32261e99}}', "a common mul"),
        ("json_schema", '{"multipleOf": NaN}', "expected value"),
        ("regex", "(", "unclosed group"),
        ("regex", "(?=a)b", "look-around"),
        ("regex", r"[^\s\S]", "no text that the model can write matches it"),
        ("regex", "\ud800", "it holds half a surrogate pair"),
        ("regex", "a" * (MAX_GRAMMAR + 1), "longer than 16384 characters"),
        ("regex", "(" * 5000 + ")" * 5000, "nested parentheses"),
        ("lark", "start: other", 'unknown name: "other"'),
        ("lark", 'start: "a\n', "1(10): lexer error"),
        ("lark", "start: " + "(" * 8000, "too deeply nested"),
        ("lark", "start: %json", "no JSON schema follows %json"),
        ("lark", 'start: %json {"multipleOf": 10000019}', "a common multiple above 100000"),
        ("lark", 'start: %json {"minProperties": 3}', "minProperties may exceed"),
        ("lark", 'start: "a" %json {"uniqueItems": true}', 'Unimplemented keys: ["uniqueItems"]'),
        ("gbnf", "root ::= other", "Rule 'other' not found"),
        ("gbnf", 'other ::= "x"', "No 'root' rule found"),
        ("gbnf", 'root ::= "\\', "it ends too early"),
        ("gbnf", "root ::= " + "(" * 8000, "too deeply nested"),
        ("toml", "", "there is no constraint of the kind 'toml'"),
    ],
)
def test_what_cannot_be_compiled_is_refused_in_a_line(
    kind: ConstraintKind, text: str, message: str
) -> None:
    with pytest.raises(InvalidConstraint) as caught:
        guard_of(kind, text)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


def test_schema_within_a_grammar_is_held_to_exactly() -> None:
    grammar = """start: "<" %json {"properties": {"a": {"type": "integer"}}, "type": "object"} x
x: "!" %json {"type": "string", "format": "date"} ">"
"""
    for text in ('<{"a": 1}!"2024-02-29">', '<{"b": "x"}!"2023-02-28">'):
        assert write(guard_of("lark", text=grammar), text) == text
    for text in ('<{"\\u0061": "x"}', '<{"a": "x"', '<{}!"2023-02-29"'):
        assert write(guard_of("lark", text=grammar), text) != text


def test_long_chains_of_rules_do_not_overflow_the_stack() -> None:
    rules = [f"a{n}: a{n + 1}" for n in range(1200)]
    text = "\n".join(["start: a0", *rules, 'a1200: "x"'])
    assert write(guard_of("lark", text), "x") == "x"
    definitions = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(3000)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**definitions, "a3000": INTEGER}}
    assert write(schema_of(schema), "12") == "12"


def test_grammar_that_outgrows_its_limits_is_an_error_and_forgotten() -> None:
    schema = {"properties": {f"p{n}": INTEGER for n in range(3000)}, "type": "object"}
    constraint = Constraint(kind="json_schema", text=json.dumps(schema))
    compiler = Compiler(ByteTokenizer(), N_VOCAB)
    guard = compiler.guard(constraint)
    guard.accept(ord("{"))
    assert not guard.is_over
    with pytest.raises(EngineError, match=r"cannot be held to the wanted form: .*items"):
        guard.allows(ord('"'))
    assert compiler.guard(constraint).allows(ord("{"))


def test_text_is_compiled_once_while_it_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_grammar = grammars.compile_grammar

    def counted(constraint: Constraint, *arguments: Any) -> Any:
        compiled.append(constraint.text)
        return compile_grammar(constraint, *arguments)

    monkeypatch.setattr(grammars, "compile_grammar", counted)
    tokenizer = ListTokenizer([])
    compiler = Compiler(tokenizer, 256)
    for text in ["first", "first", *"abcdefghijklmno", "first", "p", "first", "a"]:
        compiler.guard(Constraint(kind="regex", text=text))
    assert compiled == ["first", *"abcdefghijklmnop", "a"]  # sixteen are kept
    assert tokenizer.n_read == 256


def test_guards_of_the_same_text_do_not_disturb_each_other() -> None:
    compiler = Compiler(ByteTokenizer(), N_VOCAB)
    first, second = (compiler.guard(Constraint(kind="regex", text="abc")) for _ in range(2))
    write(first, "ab")
    assert second.allows(ord("a"))
    assert first.allows(ord("c"))


def test_constraint_begins_behind_a_text() -> None:
    guard = guard_of("regex", "[0-9]+", after="</think>")
    assert guard.allowed().marked().all()
    assert guard.allows(EOG)
    assert write(guard, "12 </thin ü</think") == "12 </thin ü</think"
    assert guard.allows(ord("x"))
    assert write(guard, ">x") == ">"
    assert not guard.allows(EOG)
    assert write(guard, "42") == "42"
    assert guard.allows(EOG)


def test_token_that_ends_the_free_part_may_hold_only_white_space_behind_it() -> None:
    tokenizer = ListTokenizer([b"k>\n\n", b"k>{", b"k>x", b"\xff"])
    compiler = Compiler(tokenizer, len(tokenizer.pieces))
    guard = compiler.guard(Constraint(kind="json", after="<think>"))
    write(guard, "<thin")
    assert [guard.allows(token) for token in (256, 257, 258, 259)] == [True, False, False, True]
    guard.accept(256)
    assert not guard.is_over
    assert write(guard, "{}") == "{}"
    assert guard.is_over


def test_free_part_does_not_confuse_characters_with_their_bytes() -> None:
    guard = guard_of("regex", "b", after="ü")
    assert write(guard, "\xc3\xbc") == "\xc3\xbc"  # the characters of these codes, in four bytes
    assert write(guard, "üb") == "üb"
    assert guard.is_over
