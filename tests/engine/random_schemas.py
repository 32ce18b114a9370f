"""Schemas by chance: nested, of every keyword that can be held, with instances of some size."""

import random
from typing import Any

from tests.engine.schemas import thing

Schema = dict[str, Any]

_NAMES = ["a", "id", "größe", "名前", 'say "hi"', "a b", "x_1", "__proto__", "ab", "$ref", ""]
_TEXTS = ["red", "green", "größer", "", 'q"q', "back\\slash", "😀", "a\nb", "名前"]
_PATTERNS = [
    "^[a-z]{1,4}$", "^(yes|no|perhaps)$", "^[A-F0-9]{2}(-[A-F0-9]{2}){1,2}$", "^\\d{1,3}%$",
    "^[^\\n\"]{2}$", "^.{1,3}$", "^(ä|ö)+x{0,2}$", "^\"\\\\{1,2}$",
]  # fmt: skip
_FORMATS = ["date", "uuid", "ipv4", "date-time", "time"]


class Schemas:
    """A source of schemas; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._defs: dict[str, Schema] = {}

    def whole(self) -> Schema:
        """A schema for an answer, with what it refers to."""
        self._defs = {}
        schema = self._any(2)
        return {**schema, "$defs": self._defs} if self._defs else schema

    def _any(self, depth: int) -> Schema:
        scalars = [self._integer, self._number, self._text, self._enum, self._const, self._types]
        if depth == 0 or self._chance.random() < 0.25:
            return self._chance.choice(scalars)()
        nested = [
            self._object, self._object, self._array, self._tuple, self._map, self._any_of,
            self._all_of, self._tagged, self._reference, self._recursion, self._open,
        ]  # fmt: skip
        return self._chance.choice(nested)(depth - 1)

    # Scalars

    def _integer(self) -> Schema:
        low = self._chance.randint(-1000, 1000)
        high = low + self._chance.choice([0, 3, 50, 5000])
        schema: Schema = {"type": "integer", "minimum": low, "maximum": high}
        if high > low and self._chance.random() < 0.3:
            schema["exclusiveMinimum"] = schema.pop("minimum") - 1
        if high - low >= 50 and self._chance.random() < 0.3:
            schema["multipleOf"] = self._chance.choice([2, 3, 7, 10])
        return schema

    def _number(self) -> Schema:
        low = self._chance.randint(-100, 100) / 4
        schema: Schema = {"type": "number", "minimum": low, "maximum": low + 10}
        if self._chance.random() < 0.5:
            schema["multipleOf"] = self._chance.choice([0.5, 0.25, 1])
        return schema

    def _text(self) -> Schema:
        match self._chance.randrange(4):
            case 0:
                return {"type": "string", "pattern": self._chance.choice(_PATTERNS)}
            case 1:
                return {"type": "string", "format": self._chance.choice(_FORMATS)}
        least = self._chance.randint(0, 2)
        most = least + self._chance.randint(0, 4)
        return {"type": "string", "minLength": least, "maxLength": most}

    def _enum(self) -> Schema:
        values = [*_TEXTS, 0, -1, 2.5, None, True, [1, "x"], {"k": None}]
        return {"enum": self._chance.sample(values, self._chance.randint(1, 5))}

    def _const(self) -> Schema:
        return {"const": self._chance.choice([*_TEXTS, 17, None, False, [[]], {"a": {"b": [0]}}])}

    def _types(self) -> Schema:
        types = self._chance.sample(["boolean", "null", "integer", "string"], 2)
        return {"type": types, "maxLength": 3, "minimum": 0, "maximum": 99}

    # Nested

    def _properties(self, depth: int, most: int = 3) -> dict[str, Schema]:
        names = self._chance.sample(_NAMES, self._chance.randint(1, most))
        return {name: self._any(depth) for name in names}

    def _object(self, depth: int) -> Schema:
        properties = self._properties(depth)
        required = [name for name in properties if self._chance.random() < 0.7]
        return thing(properties, required=required)

    def _open(self, depth: int) -> Schema:
        """Any other key is allowed as well, but only so many."""
        properties = self._properties(0, 2)
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "maxProperties": len(properties) + 1,
            "additionalProperties": self._chance.choice([self._any(0), {"maxLength": 3}]),
        }

    def _map(self, depth: int) -> Schema:
        return {
            "type": "object",
            "patternProperties": {"^[a-c]{1,2}$": self._any(depth), "^x": self._any(0)},
            "additionalProperties": False,
            "minProperties": self._chance.randint(0, 1),
            "maxProperties": self._chance.randint(1, 3),
        }

    def _array(self, depth: int) -> Schema:
        least = self._chance.randint(0, 2)
        most = least + self._chance.randint(0, 2)
        return {"type": "array", "items": self._any(depth), "minItems": least, "maxItems": most}

    def _tuple(self, depth: int) -> Schema:
        first = [self._any(depth), self._any(0)]
        least = self._chance.randint(0, 2)
        return {"type": "array", "prefixItems": first, "items": False, "minItems": least}

    def _any_of(self, depth: int) -> Schema:
        return {"anyOf": [self._any(depth) for _ in range(self._chance.randint(2, 3))]}

    def _all_of(self, depth: int) -> Schema:
        low = self._chance.randint(0, 50)
        return self._chance.choice(
            [
                {"allOf": [{"type": "integer", "minimum": low}, {"maximum": low + 9}]},
                {"type": "string", "allOf": [{"minLength": 2}, {"maxLength": 4}]},
                {"allOf": [thing({"p": self._any(0)}), {"required": ["p"]}]},
            ]
        )

    def _tagged(self, depth: int) -> Schema:
        tags = self._chance.sample(["circle", "square", "größe"], 2)
        kinds = [thing({"kind": {"const": tag}, "size": self._any(depth)}) for tag in tags]
        if self._chance.random() < 0.5:
            return {"oneOf": kinds}
        return {"oneOf": [{"$ref": self._define(kind)} for kind in kinds]}

    def _reference(self, depth: int) -> Schema:
        reference = {"$ref": self._define(self._any(depth))}
        return self._chance.choice([reference, thing({"l": reference, "r": reference})])

    def _recursion(self, depth: int) -> Schema:
        name = f"node{len(self._defs)}"
        again = {"anyOf": [{"type": "null"}, {"$ref": f"#/$defs/{name}"}]}
        self._defs[name] = {}
        self._defs[name] = thing({"value": self._any(0), "next": again})
        return {"$ref": f"#/$defs/{name}"}

    def _define(self, schema: Schema) -> str:
        name = f"def{len(self._defs)}"
        self._defs[name] = schema
        return f"#/$defs/{name}"
