"""What each keyword of JSON Schema demands: schemas, texts that are instances, texts that are not.

In the spirit of the official JSON-Schema-Test-Suite. Integers are spelt without a fraction and the
properties of an object stand in the order of the schema, because that is how answers spell them.
"""

from typing import Any, NamedTuple


class Case(NamedTuple):
    schema: Any
    valid: tuple[str, ...]
    invalid: tuple[str, ...]


INTEGER = {"type": "integer"}
TEXT = {"type": "string"}
KINDS = ("null", "true", "0", "-1", "1.5", "2e3", '"a"', "[]", "[1, {}]", "{}", '{"a": [null]}')

CAT = {
    "type": "object",
    "properties": {"kind": {"const": "cat"}, "lives": INTEGER},
    "required": ["kind", "lives"],
}
DOG = {
    "type": "object",
    "properties": {"kind": {"const": "dog"}, "tricks": {"type": "array", "items": TEXT}},
    "required": ["kind"],
}
LIST = {
    "type": "object",
    "properties": {"value": INTEGER, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["value", "next"],
}
TERM = {
    "oneOf": [{"$ref": "#/$defs/number"}, {"$ref": "#/$defs/sum"}],
    "$defs": {
        "number": {
            "type": "object",
            "properties": {"kind": {"const": "number"}, "value": INTEGER},
            "required": ["kind", "value"],
            "additionalProperties": False,
        },
        "sum": {
            "type": "object",
            "properties": {
                "kind": {"enum": ["sum", "product"]},
                "terms": {"type": "array", "items": {"$ref": "#"}},
            },
            "required": ["kind", "terms"],
            "additionalProperties": False,
        },
    },
}
TREE = {
    "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
    "$ref": "#/$defs/tree",
}

HELD: dict[str, list[Case]] = {
    "boolean schema": [
        Case(True, KINDS, ("", "nul", "01", "[1,]", "{1: 2}", "'a'")),
        Case({}, KINDS, ("", "undefined")),
    ],
    "type": [
        Case({"type": "null"}, ("null",), ("0", '""', "false")),
        Case({"type": "boolean"}, ("true", "false"), ("0", '"true"', "null")),
        Case({"type": "integer"}, ("0", "-7", "123456789012345678901234567890"), ("1.5", '"1"')),
        Case({"type": "number"}, ("0", "-7", "1.5", "1e-5", "2E+10"), ("true", '"1"', "null")),
        Case({"type": "string"}, ('""', '"ü\\n\\u00fc\\ud83d\\ude00"'), ("1", "null", "[]")),
        Case({"type": "array"}, ("[]", '[1, "a", [null]]'), ("{}", '"[]"')),
        Case({"type": "object"}, ("{}", '{"a": {"b": 1}}'), ("[]", "null")),
        Case({"type": ["integer", "null"]}, ("3", "null"), ('"3"', "1.5", "[]")),
    ],
    "enum": [
        Case({"enum": [1, "a", None, True]}, ("1", '"a"', "null", "true"), ("2", '"b"', "false")),
        Case({"enum": ["a", "ab", "abc"]}, ('"a"', '"ab"', '"abc"'), ('"abcd"', '""', '"b"')),
        Case({"enum": [[1, 2], {"x": 1}]}, ("[1, 2]", '{"x": 1}'), ("[1]", '{"x": 2}', "[2, 1]")),
        Case({"enum": ["größe", 'say "hi"', "😀"]}, ('"größe"', '"say \\"hi\\""'), ('"grösse"',)),
        Case({"enum": ["a", "bb", 3], "maxLength": 1}, ('"a"', "3"), ('"bb"',)),
        Case({"type": "integer", "enum": [1, "a", 2.5]}, ("1",), ('"a"', "2.5")),
        Case({"enum": [0, False]}, ("0", "false"), ("true", "1")),
    ],
    "const": [
        Case({"const": 2}, ("2",), ("3", '"2"', "20", "-2")),
        Case({"const": None}, ("null",), ("0", "false")),
        Case({"const": ""}, ('""',), ('" "', "null")),
        Case({"const": {"a": [1, None]}}, ('{"a": [1, null]}',), ('{"a": [1]}', "{}")),
        Case({"const": {"$ref": "x"}}, ('{"$ref": "x"}',), ("{}", '{"$ref": "y"}')),
        Case({"const": {"format": "date", "uniqueItems": False}},
             ('{"format": "date", "uniqueItems": false}',), ('{"format": "date"}', "{}")),
    ],
    "properties": [
        Case({"properties": {"a": INTEGER, "b": TEXT}},
             ('{"a": 1, "b": "x"}', '{"b": "x"}', "{}", '{"a": 1, "c": []}', "[]", "12"),
             ('{"a": "x"}', '{"b": 1}', '{"a": 1, "b": null}')),
        Case({"properties": {"a": False}}, ("{}", '{"b": 1}'), ('{"a": 1}',)),
        Case({"properties": {"ä b": INTEGER, 'q"': INTEGER, "n\n": INTEGER}},
             ('{"ä b": 1}', '{"q\\"": 1}', '{"n\\n": 1}'),
             ('{"ä b": ""}', '{"q\\"": ""}', '{"n\\n": ""}')),
        Case({"properties": {"__proto__": INTEGER, "": TEXT, "$ref": TEXT}},
             ('{"__proto__": 1}', '{"": ""}', '{"$ref": "x"}'),
             ('{"__proto__": ""}', '{"": 1}', '{"$ref": 1}')),
    ],
    "keys that are spelt otherwise": [
        Case({"properties": {"a": INTEGER}, "type": "object"},
             ('{"a": 1}', '{"b": "x"}', '{"a": 1, "é\\n\\"": 2}'),
             ('{"\\u0061": "x"}', '{"a": 1, "\\u0061": "x"}', '{"a": 1, "a": "x"}')),
        Case({"required": ["a"], "additionalProperties": INTEGER, "minProperties": 2},
             ('{"a": 1, "b": 2}',), ('{"a": 1, "\\u0061": 2}',)),
        Case({"properties": {"a": TEXT}, "additionalProperties": INTEGER},
             ('{"a": "x", "b": 2}',), ('{"\\u0061": 2}', '{"a": "x", "\\u0061": 2}')),
        Case({"patternProperties": {"^a$": INTEGER}},
             ('{"a": 1}', '{"b": "x"}'), ('{"\\u0061": "x"}',)),
        Case({"properties": {"a\nb": INTEGER}}, ('{"a\\nb": 1}',), ('{"a\\u000ab": "x"}',)),
        Case({"properties": {"ü😀": INTEGER}},
             ('{"ü😀": 1}',), ('{"\\u00fc\\ud83d\\ude00": "x"}',)),
        Case({"components": {"A": {"properties": {"a": INTEGER}}}, "$ref": "#/components/A"},
             ('{"a": 1}', '{"b": ""}'), ('{"\\u0061": "x"}',)),
    ],
    "required": [
        Case({"required": ["a"]}, ('{"a": 1}', '{"a": null, "b": 1}', "[]", "1"),
             ("{}", '{"b": 1}')),
        Case({"properties": {"a": INTEGER, "b": TEXT}, "required": ["b"], "type": "object"},
             ('{"b": ""}', '{"a": 1, "b": ""}'), ("{}", '{"a": 1}')),
        Case({"properties": {"a": INTEGER}, "required": ["a", "z"], "type": "object"},
             ('{"a": 1, "z": []}',), ('{"a": 1}', '{"z": 1}')),
        Case({"required": []}, ("{}", '{"a": 1}'), ("{a: 1}",)),
    ],
    "additionalProperties": [
        Case({"properties": {"a": INTEGER}, "additionalProperties": False, "type": "object"},
             ("{}", '{"a": 1}'), ('{"b": 1}', '{"a": 1, "b": 1}')),
        Case({"type": "object", "additionalProperties": INTEGER},
             ("{}", '{"x": 1, "y": 2}'), ('{"x": ""}',)),
        Case({"properties": {"a": TEXT}, "additionalProperties": INTEGER, "type": "object"},
             ('{"a": "", "x": 1}', '{"x": 1}'), ('{"a": 1}', '{"x": ""}')),
        Case({"patternProperties": {"^x": TEXT}, "additionalProperties": False, "type": "object"},
             ('{"x1": ""}',), ('{"y": ""}', '{"x": 1}')),
    ],
    "patternProperties": [
        Case({"patternProperties": {"^n_": INTEGER, "^t_": TEXT}, "type": "object"},
             ('{"n_a": 1, "t_b": "x"}', '{"q": []}', "{}"), ('{"n_a": ""}', '{"t_": 1}')),
        Case({"patternProperties": {"a": INTEGER}, "type": "object"},
             ('{"xax": 1}',), ('{"xax": ""}',)),
        Case({"properties": {"ab": TEXT}, "patternProperties": {"^a": {"maxLength": 2}}},
             ('{"ab": "xx"}',), ('{"ab": "xxx"}', '{"ab": 1}', '{"ac": "xxx"}')),
    ],
    "minProperties and maxProperties": [
        Case({"minProperties": 1, "type": "object"}, ('{"a": 1}',), ("{}",)),
        Case({"maxProperties": 1, "type": "object"}, ("{}", '{"a": 1}'), ('{"a": 1, "b": 2}',)),
        Case({"maxProperties": 0, "type": "object"}, ("{}",), ('{"a": 1}',)),
        Case({"properties": {"a": INTEGER}, "required": ["a"], "maxProperties": 2},
             ('{"a": 1}', '{"a": 1, "b": 2}'), ('{"a": 1, "b": 2, "c": 3}', "{}")),
        Case({"properties": {"a": INTEGER, "b": INTEGER}, "additionalProperties": False,
              "minProperties": 1}, ('{"a": 1}', '{"b": 1}', '{"a": 1, "b": 1}'), ("{}",)),
    ],
    "items and prefixItems": [
        Case({"items": INTEGER}, ("[]", "[1, 2]", "{}", '"x"'), ('["a"]', "[1, null]")),
        Case({"items": False, "type": "array"}, ("[]",), ("[1]",)),
        Case({"prefixItems": [INTEGER, TEXT]},
             ("[]", "[1]", '[1, "a"]', '[1, "a", null]'), ('["a"]', "[1, 2]")),
        Case({"prefixItems": [INTEGER], "items": TEXT}, ("[1]", '[1, "a", "b"]'), ("[1, 2]",)),
        Case({"prefixItems": [INTEGER, {}], "items": False}, ("[1, []]", "[1]"), ("[1, 2, 3]",)),
        Case({"items": {"items": {"items": INTEGER, "type": "array"}, "type": "array"}},
             ("[[[1]], []]", "[]"), ("[1]", "[[1]]", '[[["a"]]]')),
    ],
    "minItems and maxItems": [
        Case({"minItems": 2}, ("[1, 2]", "[1, 2, 3]", "1"), ("[]", "[1]")),
        Case({"maxItems": 2}, ("[]", "[1, 2]", "1"), ("[1, 2, 3]",)),
        Case({"type": "array", "maxItems": 0}, ("[]",), ("[1]",)),
        Case({"prefixItems": [INTEGER], "minItems": 2, "maxItems": 3},
             ("[1, null]", "[1, 2, 3]"), ("[1]", "[1, 2, 3, 4]")),
    ],
    "uniqueItems": [Case({"items": INTEGER, "uniqueItems": False}, ("[1, 1]",), ('["a"]',))],
    "minLength and maxLength": [
        Case({"minLength": 2}, ('"ab"', '"äö"', '"😀😀"', "1"), ('""', '"a"', '"😀"')),
        Case({"maxLength": 2}, ('""', '"ab"', '"😀😀"', '"\\n\\""'), ('"abc"', '"😀😀😀"')),
        Case({"type": "string", "maxLength": 1},
             ('"\\u00fc"', '"\\ud83d\\ude00"'), ('"\\u00fca"', '"\\ud83d\\ude00\\u0061"')),
        Case({"type": "string", "minLength": 2}, ('"\\u00fca"',), ('"\\ud83d\\ude00"',)),
        Case({"type": "string", "minLength": 3, "maxLength": 3}, ('"abc"',), ('"ab"', '"abcd"')),
    ],
    "pattern": [
        Case({"pattern": "^a+$"}, ('"aaa"', "1", "null"), ('""', '"ab"', '"b"')),
        Case({"type": "string", "pattern": "b"}, ('"abc"', '"b"'), ('"ac"', '""')),
        Case({"type": "string", "pattern": "^[A-Z]{2}-\\d{3}$"}, ('"AB-123"',), ('"AB-12"',)),
        Case({"type": "string", "pattern": "^(a|b$)"}, ('"ax"', '"b"'), ('"bx"',)),
        Case({"type": "string", "pattern": "^[^a]$"},
             ('"b"', '"\\n"', '"😀"'), ('"a"', '"\\u0061"')),
        Case({"type": "string", "pattern": '^"\\\\$'}, ('"\\"\\\\"',), ('"\\""',)),
        Case({"type": "string", "pattern": "^[äöü]{1,2}$"}, ('"äü"',), ('"a"', '"äöü"')),
        Case({"type": "string", "pattern": "a", "maxLength": 2}, ('"ab"',), ('"aaa"', '"b"')),
    ],
    "format": [
        Case({"type": "string", "format": "date"},
             ('"2024-02-29"', '"2000-02-29"', '"1999-12-31"', '"0001-01-01"'),
             ('"2023-02-29"', '"1900-02-29"', '"2024-04-31"', '"2024-13-01"', '"0000-01-01"')),
        Case({"type": "string", "format": "date-time"},
             ('"2024-02-29T12:00:00Z"', '"2023-01-31T23:59:59.5+02:00"'),
             ('"2023-02-29T12:00:00Z"', '"2024-01-01"', '"2024-01-01T24:00:00Z"',
              '"2024-01-01T12:00:60Z"')),
        Case({"type": "string", "format": "time"},
             ('"12:00:00Z"',), ('"24:00:00Z"', '"12:00"', '"12:00:60Z"')),
        Case({"type": "string", "format": "duration"}, ('"P1DT2H"', '"P3W"'), ('"P"', '"1D"')),
        Case({"type": "string", "format": "email"}, ('"a.b@example.com"',), ('"a"', '"@b.c"')),
        Case({"type": "string", "format": "hostname"},
             ('"a-b.example"', '"a"', '"ab-c"', '"abc--d"'),
             ('"-a"', '"a..b"', '"xn--a.b"', f'"{".".join(["a" * 60] * 5)}"')),
        Case({"type": "string", "format": "ipv4"}, ('"127.0.0.1"',), ('"256.1.1.1"', '"1.2.3"')),
        Case({"type": "string", "format": "ipv6"}, ('"::1"', '"1::8"'), ('"12345::"', '"1"')),
        Case({"type": "string", "format": "uuid"},
             ('"123e4567-e89b-12d3-a456-426614174000"',), ('"123e4567"',)),
        Case({"type": "string", "format": "uri"}, ('"http://a.b/c?d#e"',), ('"a b"', '"//a"')),
        Case({"format": "date"}, ('"2024-01-01"', "1", "null"), ('"x"',)),
        Case({"type": "string", "format": "date", "pattern": "^2024", "allOf": [{"pattern": "1$"}]},
             ('"2024-01-01"',), ('"2023-01-01"', '"2024-01-02"', '"2024-02-01x"')),
        Case({"type": "string", "format": "password"}, ('"x"', '""'), ("1",)),
    ],
    "minimum and maximum": [
        Case({"minimum": 5}, ("5", "5.1", "100", '"x"'), ("4", "4.9", "-5")),
        Case({"maximum": -1.5}, ("-1.5", "-2", "-100.25"), ("-1", "0", "1.5")),
        Case({"type": "integer", "minimum": -12, "maximum": 345},
             ("-12", "0", "345"), ("-13", "346", "1.5")),
        Case({"type": "integer", "minimum": 1.5, "maximum": 3.5}, ("2", "3"), ("1", "4", "2.5")),
        Case({"type": "number", "minimum": -1e300, "maximum": 1e20}, ("-1.5", "12"), ('"a"',)),
        Case({"type": "integer", "minimum": -(2**63), "exclusiveMaximum": 2**63},
             ("-5", str(10**18)), (str(2**63), "1.5")),
        Case({"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1},
             ("9007199254740991", "-9007199254740991"), ("9007199254740992",)),
    ],
    "exclusiveMinimum and exclusiveMaximum": [
        Case({"type": "number", "exclusiveMinimum": 0}, ("0.001", "1"), ("0", "0.0", "-1")),
        Case({"type": "number", "exclusiveMaximum": 1, "minimum": 0}, ("0", "0.99"), ("1", "1.0")),
        Case({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 4},
             ("2", "3"), ("1", "4")),
        Case({"type": "number", "minimum": 1, "exclusiveMinimum": 2}, ("2.1",), ("1.5", "2")),
    ],
    "multipleOf": [
        Case({"type": "integer", "multipleOf": 7}, ("0", "7", "-14", "700"), ("1", "8")),
        Case({"type": "number", "multipleOf": 0.5}, ("0.5", "1", "-2.5"), ("0.7", "1.25")),
        Case({"type": "integer", "multipleOf": 3, "minimum": 4, "maximum": 10},
             ("6", "9"), ("3", "7", "12")),
        Case({"type": "integer", "allOf": [{"multipleOf": 2}, {"multipleOf": 3}]},
             ("6", "12"), ("2", "3")),
    ],
    "anyOf": [
        Case({"anyOf": [INTEGER, TEXT]}, ("1", '"a"'), ("null", "1.5")),
        Case({"anyOf": [INTEGER, {"minimum": 5}]}, ("1", "5.5", '"a"'), ("1.5",)),
        Case({"anyOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"},
             ('{"a": 1}', '{"b": 1}'), ("{}", '{"c": 1}')),
        Case({"anyOf": [CAT, DOG]},
             ('{"kind": "cat", "lives": 9}', '{"kind": "dog", "tricks": ["sit"]}'),
             ('{"kind": "cat"}', '{"kind": "cow"}', '{"kind": "dog", "tricks": [1]}')),
        Case({"type": "integer", "anyOf": [{"maximum": 2}, {"minimum": 8}]},
             ("2", "8"), ("5", '"a"')),
    ],
    "oneOf": [
        Case({"oneOf": [INTEGER, TEXT]}, ("1", '"a"'), ("null",)),
        Case({"oneOf": [{"const": "a"}, {"const": "b"}]}, ('"a"', '"b"'), ('"c"',)),
        Case({"oneOf": [CAT, DOG]}, ('{"kind": "cat", "lives": 9}', '{"kind": "dog"}'),
             ('{"kind": "cat"}', '{"kind": "cow"}')),
        Case({"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
              "$defs": {"cat": CAT, "dog": DOG}},
             ('{"kind": "cat", "lives": 9}', '{"kind": "dog"}'), ('{"kind": "cat"}', "{}")),
        Case({"type": "array", "items": {
                  "oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
                  "discriminator": {"propertyName": "kind"}},
              "$defs": {"cat": CAT, "dog": DOG}},
             ('[{"kind": "cat", "lives": 9}, {"kind": "dog"}]', "[]"), ('[{"kind": "cat"}]',)),
    ],
    "oneOf that refers to itself": [
        Case(TERM, ('{"kind": "number", "value": 1}',
                    '{"kind": "sum", "terms": [{"kind": "number", "value": 1}]}',
                    '{"kind": "sum", "terms": [{"kind": "sum", "terms": []}]}'),
             ('{"kind": "sum", "value": 1}', '{"kind": "sum", "terms": [1]}',
              '{"kind": "number", "terms": []}')),
        Case({"oneOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}]},
             ("null", "[]", "[[null], null]"), ("1", "[1]")),
    ],
    "allOf": [
        Case({"allOf": [INTEGER, {"minimum": 5}]}, ("5", "60"), ("4", '"x"')),
        Case({"allOf": [{"properties": {"a": INTEGER}}, {"properties": {"b": TEXT}},
                        {"required": ["a"]}], "type": "object"},
             ('{"a": 1, "b": ""}', '{"a": 1, "c": 2}'),
             ('{"b": ""}', '{"a": ""}', '{"a": 1, "b": 1}')),
        Case({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, ("2",), ("1", "3")),
        Case({"allOf": [{"anyOf": [INTEGER, TEXT]}, {"anyOf": [TEXT, {"type": "null"}]}]},
             ('"a"',), ("1", "null")),
        Case({"allOf": [{"prefixItems": [INTEGER]}, {"items": {"minimum": 3}}], "type": "array"},
             ("[3, 4]",), ("[1]", '["a"]', "[3, 1]")),
    ],
    "$ref": [
        Case({"$ref": "#/$defs/a", "$defs": {"a": INTEGER}}, ("1",), ('"x"',)),
        Case({"$ref": "#/$defs/a", "minimum": 5, "$defs": {"a": INTEGER}}, ("5",), ("1", '"x"')),
        Case({"$ref": "#/$defs/a~1b", "$defs": {"a/b": INTEGER}}, ("1",), ('"x"',)),
        Case({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "integer"}}},
             ("1",), ('"x"',)),
        Case({"$id": "http://x.example/y", "$ref": "item",
              "$defs": {"a": {"$id": "item", "type": "integer"}}}, ("1",), ('"x"',)),
        Case({"properties": {"a": INTEGER, "b": {"$ref": "#/properties/a"}}, "type": "object"},
             ('{"a": 1, "b": 2}',), ('{"a": 1, "b": ""}',)),
        Case({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": TEXT}},
             ('"x"',), ("1",)),
        Case({"definitions": {"n": INTEGER}, "items": {"$ref": "#/definitions/n"}},
             ("[1]",), ('["a"]',)),
    ],
    "recursion": [
        Case(LIST, ('{"value": 1, "next": {"value": 2, "next": null}}',),
             ('{"value": 1, "next": 2}', '{"value": 1, "next": {"value": 2}}')),
        Case(TREE, ("[]", "[[], [[]]]"), ("[1]", "[[], [], []]")),
        Case({"type": "object", "additionalProperties": {"$ref": "#"}},
             ('{"a": {"b": {}}}', "{}"), ('{"a": 1}',)),
    ],
    "annotations": [
        Case({"title": "t", "description": "d", "default": "x", "examples": ["y"], "$comment": "c",
              "readOnly": True, "deprecated": True, "contentEncoding": "base64", "x-own": [1],
              "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "integer"},
             ("1",), ('"x"',)),
        Case({"properties": {"default": INTEGER, "title": TEXT, "enum": INTEGER}},
             ('{"default": 1, "title": ""}', '{"enum": 1}'), ('{"default": ""}', '{"enum": []}')),
    ],
    "what demands nothing": [
        Case({"type": "object", "additionalProperties": INTEGER,
              "propertyNames": {"type": "string"},
              "unevaluatedProperties": True}, ('{"a": 1}',), ('{"a": ""}',)),
    ],
}  # fmt: skip
"""By keyword; all of draft 2020-12."""

OLDER: dict[str, Case] = {
    "http://json-schema.org/draft-07/schema#": Case(
        {"items": [INTEGER, TEXT], "additionalItems": False, "type": "array"},
        ("[1]", '[1, "a"]'), ('["a"]', '[1, "a", 2]')),
    "http://json-schema.org/draft-06/schema#": Case(
        {"definitions": {"a": {"exclusiveMinimum": 3, "type": "integer"}},
         "$ref": "#/definitions/a"}, ("4",), ("3",)),
    "http://json-schema.org/draft-04/schema#": Case(
        {"type": "integer", "minimum": 3, "exclusiveMinimum": True}, ("4",), ("3",)),
}  # fmt: skip
"""By the draft that is named; where its keywords differ from today's."""

REFUSED: dict[str, list[Any]] = {
    "not": [{"not": INTEGER}, {"properties": {"a": {"not": {}}}}],
    "if": [{"if": INTEGER, "then": {"minimum": 5}, "else": TEXT}],
    "then": [{"if": INTEGER, "then": {"minimum": 5}}],
    "else": [{"if": INTEGER, "else": TEXT}],
    "uniqueItems": [{"uniqueItems": True}, {"items": {"type": "array", "uniqueItems": True}}],
    "contains": [{"contains": INTEGER}, {"contains": INTEGER, "minContains": 2}],
    "minContains": [{"contains": INTEGER, "minContains": 2}],
    "maxContains": [{"contains": INTEGER, "maxContains": 2}],
    "propertyNames": [{"propertyNames": {"pattern": "^a"}}],
    "dependentRequired": [{"dependentRequired": {"a": ["b"]}}],
    "dependentSchemas": [{"dependentSchemas": {"a": {"required": ["b"]}}}],
    "dependencies": [{"dependencies": {"a": ["b"]}}],
    "unevaluatedProperties": [{"properties": {"a": {}}, "unevaluatedProperties": False}],
    "unevaluatedItems": [{"prefixItems": [{}], "unevaluatedItems": False}],
    "$dynamicRef": [{"$dynamicRef": "#a", "$defs": {"a": {"$dynamicAnchor": "a"}}}],
    "oneOf": [
        {"oneOf": [INTEGER, {"minimum": 5}]},
        {"oneOf": [INTEGER, {"type": "number", "items": {"$ref": "#"}}]},
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"},
        {"oneOf": [{"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 3}]},
    ],
    "minProperties": [
        {"type": "object", "minProperties": 2},
        {"required": ["a"], "additionalProperties": INTEGER, "minProperties": 3},
        {"items": {"patternProperties": {"^[ab]$": INTEGER}, "minProperties": 2}},
    ],
    "min/maxProperties": [
        {"properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 1, "maxProperties": 2}
    ],
    "patternProperty": [{"patternProperties": {"^a": INTEGER, "b$": TEXT}}],
    "look-around": [{"type": "string", "pattern": "(?=a)b"}],
    "backreferences": [{"type": "string", "pattern": "(a)\\1"}],
    "iri": [{"type": "string", "format": "iri"}],
    "minLength": [
        {"minLength": -1},
        {"minLength": "3"},
        {"type": "string", "minLength": 5, "maxLength": 3},
    ],
    "schema must be an object or boolean": [{"items": 3}, {"anyOf": [1]}],
    "required": [{"required": "a"}],
    "schema is false": [False],
    "anyOf": [{"enum": []}, {"anyOf": []}],
    "'a' is unsatisfiable": [{"properties": {"a": False}, "required": ["a"], "type": "object"}],
    "incompatible types": [{"allOf": [INTEGER, TEXT]}],
    "http://example.com/x": [{"$ref": "http://example.com/x"}],
    "/$defs/b": [{"$ref": "#/$defs/b", "$defs": {"a": INTEGER}}],
}
"""What cannot be held, or can never be fulfilled, by a word of the message."""
