"""Schemas of many kinds, of which even a model of random weights soon writes an instance."""

from typing import Any

NAME = {"type": "string", "maxLength": 6}
AGE = {"type": "integer", "minimum": 0, "maximum": 150}


def thing(properties: dict[str, Any], **others: Any) -> dict[str, Any]:
    """A closed object with all of these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **others,
    }


SCHEMAS: dict[str, Any] = {
    "empty object": thing({}),
    "person": thing({"name": NAME, "age": AGE}),
    "optional": thing({"name": NAME, "age": AGE, "ok": {"type": "boolean"}}, required=["age"]),
    "nested": thing({"a": thing({"b": thing({"c": thing({"d": AGE})})})}),
    "unicode keys": thing({"größe": AGE, "名前": {"enum": ["太郎", "花子"]}, "😀": {"const": 1}}),
    "quoted keys": thing({'a "b" \\ c': AGE, "d\ne": AGE}),
    "enum": {"enum": ["red", "green", "blue"]},
    "enum of kinds": {"enum": [1, "1", None, True, [1, {"x": 2}], 2.5]},
    "enum with common beginnings": {"enum": ["a", "ab", "abc", "abcd"]},
    "const": {"const": {"exactly": ["this", 1, None]}},
    "const text": {"const": 'say "hi"\n'},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "several types": {"type": ["boolean", "null", "integer"], "minimum": 3, "maximum": 9},
    "integer in bounds": {"type": "integer", "minimum": -17, "maximum": 1234},
    "integer in open bounds": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3},
    "multiple": {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 1000},
    "number in bounds": {"type": "number", "minimum": -1.5, "maximum": 2.25},
    "text in bounds": {"type": "string", "minLength": 3, "maxLength": 5},
    "empty text": {"type": "string", "maxLength": 0},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
    "pattern of alternatives": {"type": "string", "pattern": "^(foo|ba[rz]{1,2})$"},
    "pattern within": {"type": "string", "pattern": "x", "maxLength": 8},
    "unicode pattern": {"type": "string", "pattern": "^[äöü]{1,3}$"},
    "date": {"type": "string", "format": "date"},
    "uuid": {"type": "string", "format": "uuid"},
    "ipv4": {"type": "string", "format": "ipv4"},
    "list": {"type": "array", "items": AGE, "minItems": 2, "maxItems": 4},
    "empty list": {"type": "array", "maxItems": 0},
    "list of lists": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
        "minItems": 1,
        "maxItems": 3,
    },
    "tuple": {
        "type": "array",
        "prefixItems": [AGE, {"type": "boolean"}, {"const": "end"}],
        "items": False,
        "minItems": 3,
    },
    "list of things": {
        "type": "array",
        "items": thing({"id": AGE, "tag": {"enum": ["x", "y"]}}),
        "minItems": 1,
        "maxItems": 2,
    },
    "any of": {"anyOf": [AGE, thing({"n": AGE}), {"const": "none"}]},
    "one of": {"oneOf": [{"type": "integer", "minimum": 5, "maximum": 8}, {"const": "five"}]},
    "tagged one of": {
        "oneOf": [
            thing({"kind": {"const": "circle"}, "radius": AGE}),
            thing({"kind": {"const": "square"}, "side": AGE}),
        ]
    },
    "all of": {"allOf": [{"type": "integer", "minimum": 10}, {"maximum": 20}]},
    "reference": thing(
        {"left": {"$ref": "#/$defs/point"}, "right": {"$ref": "#/$defs/point"}},
        **{"$defs": {"point": thing({"x": AGE, "y": AGE})}},
    ),
    "recursion": {
        "$ref": "#/definitions/node",
        "definitions": {
            "next": {"anyOf": [{"$ref": "#/definitions/node"}, {"type": "null"}]},
            "node": thing({"v": {"enum": [0, 1]}, "next": {"$ref": "#/definitions/next"}}),
        },
    },
    "map": {
        "type": "object",
        "patternProperties": {"^[a-c]$": {"type": "boolean"}},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 2,
    },
    "several maps": {
        "type": "object",
        "patternProperties": {"^x[0-9]$": AGE, "^y{1,3}$": {"const": []}},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    },
    "required without property": {
        "type": "object",
        "required": ["x"],
        "additionalProperties": {"type": "boolean"},
        "maxProperties": 1,
    },
    "as pydantic writes it": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/pet.json",
        "title": "Pet",
        "description": "An animal at home",
        **thing(
            {
                "name": {**NAME, "title": "Name", "examples": ["Rex"]},
                "legs": {"anyOf": [AGE, {"type": "null"}], "default": None, "title": "Legs"},
            }
        ),
    },
}
