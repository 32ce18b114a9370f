"""The official JSON-Schema-Test-Suite, where it is installed: no answer breaks its schema.

It is looked for where ``JSON_SCHEMA_TEST_SUITE`` says, or Debian's package json-schema-test-suite.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import InvalidConstraint
from cama.core.generation import Constraint
from cama.engine.constraint.compiler import Compiler
from cama.engine.sampling.guard import Guard
from tests.engine.fake import EOG, N_VOCAB, ByteTokenizer

SUITE = Path(os.environ.get("JSON_SCHEMA_TEST_SUITE", "/usr/share/json-schema-test-suite"))

DRAFTS = {
    "draft4": "http://json-schema.org/draft-04/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}

NOT_HELD = {
    "content.json",  # an annotation since draft 2019-09
    "ecmascript-regex.json",  # patterns are Rust's: a byte order mark is no white space there
}
"""Of the tests of what is optional."""

COMPILER = Compiler(ByteTokenizer(), N_VOCAB)


def cases(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.rglob("*.json")):
        if path.name not in NOT_HELD:
            for case in json.loads(path.read_text("utf-8")):
                yield f"{path.stem}: {case['description']}", case


def guard_of(schema: Any, draft: str) -> Guard:
    if isinstance(schema, dict):
        schema = {"$schema": DRAFTS[draft], **schema}
    text = json.dumps(schema, ensure_ascii=False)
    return COMPILER.guard(Constraint(kind="json_schema", text=text))


def is_accepted(guard: Guard, value: Any) -> bool:
    for byte in json.dumps(value, ensure_ascii=False).encode():
        if not guard.allows(byte):
            return False
        guard.accept(byte)
    return guard.is_over or guard.allows(EOG)


@pytest.mark.parametrize("draft", DRAFTS)
def test_no_answer_breaks_a_schema_of_the_suite(draft: str) -> None:
    folder = SUITE / "tests" / draft
    if not folder.is_dir():
        pytest.skip(f"the official test suite has no {draft} here")
    n_held = n_schemas = n_valid = n_accepted = 0
    broken = []
    for name, case in cases(folder):
        n_schemas += 1
        try:
            guard_of(case["schema"], draft)
        except InvalidConstraint:
            continue
        n_held += 1
        for one in case["tests"]:
            accepted = is_accepted(guard_of(case["schema"], draft), one["data"])
            if one["valid"]:
                n_valid += 1
                n_accepted += accepted
            elif accepted:
                broken.append(f"{name}: {one['description']}")
    assert not broken
    assert n_held > 0.45 * n_schemas
    assert n_accepted > 0.85 * n_valid
