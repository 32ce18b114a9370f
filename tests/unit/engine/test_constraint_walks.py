"""Whatever a constraint lets somebody write who writes at random is what it describes."""

import ipaddress
import json
import random
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime

import pytest

from cama.core.generation import Constraint, ConstraintKind
from cama.engine.constraint.compiler import Compiler
from tests.engine.fake import EOG, N_VOCAB, ByteTokenizer

COMPILER = Compiler(ByteTokenizer(), N_VOCAB)


def walk(kind: ConstraintKind, text: str, seed: int, most: int = 300) -> str | None:
    """An answer of random bytes, as far as they are allowed; None when it does not end."""
    chance = random.Random(seed)
    guard = COMPILER.guard(Constraint(kind=kind, text=text))
    said = bytearray()
    for _ in range(most):
        if guard.is_over:
            return said.decode()
        allowed = guard.allowed().marked().nonzero()[0].tolist()
        byte = chance.choice(allowed)
        if byte == EOG or (EOG in allowed and chance.random() < 0.2):
            return said.decode()
        assert guard.allows(byte)
        guard.accept(byte)
        said.append(byte)
    return None


def walks(kind: ConstraintKind, text: str, n: int = 6) -> list[str]:
    ended = [said for seed in range(n) if (said := walk(kind, text, seed)) is not None]
    assert len(ended) > n // 2
    return ended


REGEXES = [
    "[0-9]{3}-[a-f]{1,4}!", "(ja|nein|ü{2,3}|😀)", "a*b+c?", "(ab|ba){2,5}", "[^a-z]{1,3}",
    ".{2,4}", "\\d{2}:\\d{2}(:\\d{2})?", "(?i:yes|no)", "[a-z_]{1,4}@[a-z]{2,4}\\.(com|org)",
    "[äöüß]+[!?]{0,2}", "x{0,3}y{0,3}(z|)", "\\$[1-9][0-9]{0,5}\\.[0-9]{2}", "(a(b(c)?)?)?d",
    "[\\[\\]\\\\]{2}", "\\s?-?\\S",
]  # fmt: skip


@pytest.mark.parametrize("regex", REGEXES)
def test_regular_expression_matches_what_was_written(regex: str) -> None:
    for said in walks("regex", regex):
        assert re.fullmatch(regex, said), said


LARK = 'start: greeting (", " name){1,3} "!"?\ngreeting: "Hello" | "Hi"\nname: /[A-Z][a-z]{1,4}/'
GBNF = 'root ::= greeting (", " name)+ "!"?\ngreeting ::= "Hello" | "Hi"\nname ::= [A-Z] [a-z]*'
SUM = 'start: term ("+" term){0,3}\nterm: NUMBER | "(" start ")"\nNUMBER: /[1-9][0-9]{0,2}/'
SUM_GBNF = 'root ::= term ("+" term)*\nterm ::= [1-9] [0-9]? | "(" root ")"'


@pytest.mark.parametrize(("kind", "text"), [("lark", LARK), ("gbnf", GBNF)])
def test_grammar_derives_what_was_written(kind: ConstraintKind, text: str) -> None:
    for said in walks(kind, text, 12):
        assert re.fullmatch("(Hello|Hi)(, [A-Z][a-z]*)+!?", said), said


@pytest.mark.parametrize(("kind", "text"), [("lark", SUM), ("gbnf", SUM_GBNF)])
def test_recursive_grammar_derives_what_was_written(kind: ConstraintKind, text: str) -> None:
    for said in walks(kind, text, 20):
        assert re.fullmatch("[0-9()+]+", said)
        assert eval(said, {"__builtins__": {}}) > 0


def _without_leap_second(text: str) -> str:
    return re.sub(":60(?=[.Z+-])", ":59", text)


FORMATS: dict[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uuid": uuid.UUID,
    "date-time": lambda text: datetime.fromisoformat(_without_leap_second(text.upper())),
}


@pytest.mark.parametrize("name", FORMATS)
def test_format_can_be_read_by_the_standard_library(name: str) -> None:
    schema = json.dumps({"type": "string", "format": name})
    for said in walks("json_schema", schema, 30):
        FORMATS[name](json.loads(said))


def test_object_of_any_keys_holds_what_its_schema_says() -> None:
    """The keys are random, and may be spelt in any way that JSON knows."""
    schema = {
        "type": "object",
        "properties": {"a": {"const": 1}, "ü": {"const": 2}},
        "required": ["a", "ü"],
        "additionalProperties": {"type": "null"},
        "maxProperties": 4,
    }
    for said in walks("json_schema", json.dumps(schema), 30):
        value = json.loads(said)
        assert value.pop("a") == 1
        assert value.pop("ü") == 2
        assert set(value.values()) <= {None}
