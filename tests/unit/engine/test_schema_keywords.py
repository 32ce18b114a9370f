"""Keyword by keyword: what a JSON Schema describes may be said to its end, and nothing else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft202012Validator
from jsonschema.validators import validator_for

from cama.core.errors import InvalidConstraint
from cama.core.generation import Constraint
from cama.engine.constraint.compiler import Compiler
from cama.engine.sampling.guard import Guard
from tests.engine.fake import EOG, N_VOCAB, ByteTokenizer
from tests.unit.engine.keywords import HELD, OLDER, REFUSED, Case

COMPILER = Compiler(ByteTokenizer(), N_VOCAB)

CASES = [
    *((keyword, case) for keyword, cases in HELD.items() for case in cases),
    *(
        (draft, case._replace(schema={"$schema": draft, **case.schema}))
        for draft, case in OLDER.items()
    ),
]


def ids() -> Iterator[str]:
    for n, (keyword, _) in enumerate(CASES):
        yield f"{keyword}-{n}"


def guard_of(schema: Any) -> Guard:
    return COMPILER.guard(Constraint(kind="json_schema", text=json.dumps(schema)))


def is_accepted(guard: Guard, text: str) -> bool:
    """Whether every byte, and then the end, was allowed: by the look at one token and the mask."""
    for token in text.encode():
        if not guard.allows(token):
            return False
        assert guard.allowed()[token]
        guard.accept(token)
    return guard.is_over or guard.allows(EOG)


def is_valid(schema: Any, text: str) -> bool:
    """What an independent validator says."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    kind = validator_for(schema, default=Draft202012Validator)
    checker = Draft202012Validator.FORMAT_CHECKER
    return bool(kind(schema, format_checker=checker).is_valid(value))


@pytest.mark.parametrize(("keyword", "case"), CASES, ids=ids())
def test_instances_can_be_written_and_nothing_else(keyword: str, case: Case) -> None:
    for text in case.valid:
        assert is_valid(case.schema, text), text
        assert is_accepted(guard_of(case.schema), text), text
    for text in case.invalid:
        assert not is_accepted(guard_of(case.schema), text), text


# Formats of which the independent validator knows little without packages of their own
LOOSE = {"date-time", "time", "duration", "email", "hostname", "uri"}


@pytest.mark.parametrize(("keyword", "case"), CASES, ids=ids())
def test_table_agrees_with_an_independent_validator(keyword: str, case: Case) -> None:
    if isinstance(case.schema, dict) and case.schema.get("format") in LOOSE:
        return
    for text in case.invalid:
        if not text.startswith('{"a": 1, "a"'):
            assert not is_valid(case.schema, text), text


def test_table_knows_the_drafts() -> None:
    assert validator_for({"$schema": "http://json-schema.org/draft-04/schema#"}) is Draft4Validator


@pytest.mark.parametrize("word", REFUSED)
def test_what_cannot_be_held_is_refused_by_name(word: str) -> None:
    for schema in REFUSED[word]:
        with pytest.raises(InvalidConstraint, match="invalid JSON schema in format: ") as caught:
            guard_of(schema)
        assert word in caught.value.message, caught.value.message
        assert "\n" not in caught.value.message
