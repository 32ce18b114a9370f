"""Which schemas have no instance in common."""

from typing import Any

import pytest

from cama.engine.constraint.apart import are_apart

TEXT = {"type": "string"}


def tagged(name: str, *values: Any, **others: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"enum": list(values)}}, "required": [name]} | (
        others
    )


APART: list[list[Any]] = [
    [{"type": "string"}, {"type": "integer"}, {"type": ["null", "boolean"]}],
    [{"const": "a"}, {"enum": ["b", None, True]}],
    [tagged("kind", "a"), tagged("kind", "b", "c"), TEXT],
    [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
    [{"allOf": [{}, {"$ref": "#/$defs/a"}]}, {"$ref": "#/$defs/b"}],
    [{"$ref": "#/$defs/same"}, {"$ref": "#/$defs/b"}],
    [{"$ref": "#/$defs/with~1slash"}, {"type": "null"}],
    [
        {"type": "object", "properties": {"p": tagged("k", 1, "x")}, "required": ["p"]},
        {"type": "object", "properties": {"p": TEXT}, "required": ["p"]},
    ],
]
TOGETHER: list[list[Any]] = [
    [{"type": "integer"}, {"type": "number"}],
    [{"type": ["string", "null"]}, {"type": ["null", "boolean"]}],
    [{"const": 1}, {"const": 1.0}],
    [{"const": "a"}, {"const": 1}],  # numbers are not looked at
    [{}, {"type": "string"}],
    [True, {"type": "string"}],
    [tagged("kind", "a"), tagged("kind", "b", required=[])],
    [tagged("kind", "a"), tagged("other", "b")],
    [tagged("kind", "a"), tagged("kind", "b", type=["object", "string"])],
    [{"required": ["kind"]}, tagged("kind", "b")],
    [{"$ref": "#/$defs/loop"}, {"type": "string"}],
    [{"$ref": "#/$defs/none"}, {"type": "string"}],
    [{"$ref": "other.json"}, {"type": "string"}],
    [tagged("kind", "a", "b"), tagged("kind", "b")],
]
ROOT = {
    "$defs": {
        "a": tagged("kind", "a"),
        "b": tagged("kind", "b"),
        "same": {"$ref": "#/$defs/a"},
        "loop": {"$ref": "#/$defs/loop"},
        "with/slash": TEXT,
    }
}


@pytest.mark.parametrize("options", APART)
def test_types_and_tags_keep_schemas_apart(options: list[Any]) -> None:
    assert are_apart(options, ROOT)
    assert are_apart(options[::-1], ROOT)


@pytest.mark.parametrize("options", TOGETHER)
def test_what_may_have_an_instance_in_common_is_not_apart(options: list[Any]) -> None:
    assert not are_apart(options, ROOT)
    assert not are_apart(options[::-1], ROOT)


def test_a_long_list_is_not_compared() -> None:
    assert are_apart([{"const": str(n)} for n in range(256)], {})
    assert not are_apart([{"const": str(n)} for n in range(257)], {})
