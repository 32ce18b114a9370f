"""Constraints as llguidance takes them: its grammar of a text, its table of a vocabulary."""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper, regex_to_lark
from llguidance.gbnf_to_lark import gbnf_to_lark

from cama.core.errors import InvalidConstraint, Unsupported
from cama.core.generation import Constraint
from cama.engine.constraint.schemas import exact, why_not

MAX_SCHEMA = 1 << 17
MAX_GRAMMAR = 1 << 14
MAX_PATTERN = 1 << 12
"""Characters of a schema, of a grammar of another kind, and of a regular expression in a schema.

The time and memory that a regular expression takes can grow with the square of its length: the
worst of those allowed take a second and 300 MB.
"""

MAX_MULTIPLE = 100_000
"""The least common multiple of every ``multipleOf`` in a schema: llguidance keeps a state for each
remainder, outside its limits, and ten million of them take minutes and gigabytes."""

_INLINE = "%json"
"""Stands in front of a schema within a grammar."""

_DECODER = json.JSONDecoder()

_PATTERNS = ("pattern", "whitespace_pattern", "item_separator", "key_separator")

_MAX_PIECE_BYTES = 1024
_MAX_VOCABULARY_BYTES = 1 << 22
"""What llguidance's table of a vocabulary can hold."""

_REASON_CHARACTERS = 200

_LIMITS = LLParserLimits(max_lexer_states=50_000, verbose_errors=False)

# At the end, so that lines are counted as in the text that was given.
_OPTIONS = '\n%llguidance {"no_forcing": true}\n'
"""A mask shows every token that may come, and not only the usual spelling of what must come."""

_JSON_OPTIONS = {
    "whitespace_pattern": r" |\r?\n{1,2}[ \t]{0,40}",
    "json_allow_general_unicode_escapes": True,
}
"""White space has an end: a weak model would otherwise fill its answer with it."""

_NAMES = {
    "json": "JSON",
    "json_schema": "JSON schema in format",
    "regex": "regular expression",
    "lark": "Lark grammar",
    "gbnf": "GBNF grammar",
    "rules": "JSON schema",
}


def vocabulary_table(pieces: Sequence[bytes], end_of_generation: Collection[int]) -> LLTokenizer:
    """What masks are computed from; a third of a second for 128k tokens.

    ``pieces`` are the bytes of each token; one without any, or with too many, is never allowed.
    Raises Unsupported for a vocabulary of more text than llguidance can hold.
    """
    if sum(map(len, pieces)) > _MAX_VOCABULARY_BYTES:
        raise Unsupported("the vocabulary of this model is too large for structured answers")
    ends = sorted(end_of_generation)
    tokens = [
        piece if 0 < len(piece) <= _MAX_PIECE_BYTES else _unwritable(token)
        for token, piece in enumerate(pieces)
    ]
    for token in ends:
        tokens[token] = _unwritable(token)
    return LLTokenizer(TokenizerWrapper(_Vocabulary(tokens, ends)), eos_token=ends or None)


def _unwritable(token: int) -> bytes:
    """A name that no text contains; llguidance takes an empty token for one that always fits."""
    return b"\xff<%d>" % token


class _Vocabulary:
    """A vocabulary in the form that llguidance reads. One without an end gets one behind it."""

    bos_token_id = None

    def __init__(self, tokens: list[bytes], ends: list[int]) -> None:
        self.tokens = tokens
        self.eos_token_id = ends[0] if ends else None

    def __call__(self, text: bytes) -> list[int]:
        return []  # asked for only where tokens are forced, which _OPTIONS rule out


def compile_grammar(constraint: Constraint, grammar: str, table: LLTokenizer) -> LLMatcher:
    """A matcher at the beginning of an answer, to be copied for each; ``grammar`` is from
    :func:`grammar_of`.

    Drops the GIL, and recurses as deep as rules refer to each other. Raises InvalidConstraint.
    """
    for part in _parts(constraint):  # alone: it knows no names of ours, and errors are its own
        compile_grammar(part, grammar_of(part), table)
    matcher = LLMatcher(table, grammar, log_level=0, limits=_LIMITS)
    first = matcher.deep_copy()
    first.compute_bitmask()
    if first.is_error():
        raise _invalid(constraint, _reason(first.get_error()))
    return matcher


def grammar_of(constraint: Constraint) -> str:
    """What llguidance compiles: a list of grammars, the first of which is the whole.

    Raises InvalidConstraint for what is too long, or cannot be read as far as that is seen here.
    """
    match constraint.kind:
        case "json":
            return _schema_grammar({"type": "object"}, {})
        case "json_schema":
            return _schema_grammar(*_schema(constraint))
        case "rules":
            return _composed_grammar(constraint)
    return _lark_grammar(_lark(constraint))


def _schema_grammar(schema: Any, needed: dict[str, Any]) -> str:
    return _lark_grammar("start: @schema", _named("schema", schema, needed))


def _named(name: str, schema: Any, needed: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema, dict):
        given = schema.get("x-guidance", {})
        options = {**_JSON_OPTIONS, **needed, **given} if isinstance(given, dict) else given
        schema = {**schema, "x-guidance": options}
    return {"name": name, "json_schema": schema}


def _composed_grammar(constraint: Constraint) -> str:
    """Rules that refer to schemas and to other grammars."""
    match _loaded(constraint):
        case {"lark": str(lark), "schemas": dict(schemas), "grammars": dict(grammars)}:
            named = [_named(name, *_exact(constraint, schemas[name])) for name in schemas]
            for name, part in zip(grammars, _parts(constraint), strict=True):
                named.append({"name": name, "lark_grammar": _lark(part) + _OPTIONS})
            return _lark_grammar(lark, *named)
    raise _invalid(constraint, "it has no grammar and schemas")


def _parts(constraint: Constraint) -> list[Constraint]:
    """The grammars to which rules refer."""
    if constraint.kind != "rules":
        return []
    return [Constraint(**part) for part in json.loads(constraint.text)["grammars"].values()]


def _lark_grammar(lark: str, *others: dict[str, Any]) -> str:
    return json.dumps({"grammars": [{"lark_grammar": lark + _OPTIONS}, *others]})


def _schema(constraint: Constraint) -> tuple[Any, dict[str, Any]]:
    """The schema as llguidance takes it, and the options that it needs."""
    return _exact(constraint, _loaded(constraint))


def _loaded(constraint: Constraint) -> Any:
    """The JSON of a constraint, which costs no more than is allowed."""
    text = _short(constraint, MAX_SCHEMA)
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid(constraint, "it is not JSON, or too deeply nested") from None
    _check_costs(constraint, schema)
    return schema


def _check_costs(constraint: Constraint, schema: Any) -> None:
    try:
        patterns, multiple = _costs(schema)
    except (ValueError, RecursionError):
        raise _invalid(constraint, "it is not JSON, or too deeply nested") from None
    if max(map(len, patterns), default=0) > MAX_PATTERN:
        raise _invalid(constraint, f"a pattern is longer than {MAX_PATTERN} characters")
    if multiple > MAX_MULTIPLE:
        raise _invalid(constraint, f"multipleOf with a common multiple above {MAX_MULTIPLE}")


def _exact(constraint: Constraint, schema: Any) -> tuple[Any, dict[str, Any]]:
    try:
        reason = why_not(schema)
        schema, options = exact(schema)
    except (ValueError, RecursionError):
        raise _invalid(constraint, "it is too deeply nested") from None
    if reason:
        raise _invalid(constraint, reason)
    return schema, options


def _costs(schema: Any) -> tuple[list[str], int]:
    """The regular expressions of a schema, and the least common multiple of all its multiples."""
    patterns: list[str] = []
    multiple = 1
    for key, value in _members(schema):
        match value:
            case str() if key in _PATTERNS:
                patterns.append(value)
            case dict() if key == "patternProperties":
                patterns.extend(value)
            case int() | float() if key == "multipleOf":
                multiple = math.lcm(multiple, _coefficient(value))
    return patterns, multiple


def _coefficient(number: float) -> int:
    """The digits of a number, less the zeros at the end: for powers of ten no state is needed."""
    digits = Decimal(str(number)).normalize().as_tuple().digits
    return int("".join(map(str, digits)) or 0) or 1


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """The keys of all objects in a JSON value, with what they hold."""
    items = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from value.items()
        items = tuple(value.values())
    for item in items:
        yield from _members(item)


def _short(constraint: Constraint, most: int = MAX_GRAMMAR) -> str:
    text = constraint.text
    if len(text) > most:
        raise _invalid(constraint, f"it is longer than {most} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _invalid(constraint, "it holds half a surrogate pair") from None
    return text


def _lark(constraint: Constraint) -> str:
    """A grammar of any syntax as Lark."""
    text = _short(constraint)
    match constraint.kind:
        case "regex":
            return f"start: /{regex_to_lark(text, '')}/"
        case "lark":
            return _with_exact_schemas(constraint, text)
        case "gbnf":
            return _from_gbnf(constraint, text)
    raise InvalidConstraint(f"there is no constraint of the kind {constraint.kind!r}")


def _with_exact_schemas(constraint: Constraint, lark: str) -> str:
    """Have the schemas within a grammar cost and mean what others may."""
    first, *rest = lark.split(_INLINE)
    parts = [first]
    for part in rest:
        part = part.lstrip()
        try:
            schema, end = _DECODER.raw_decode(part)
        except (ValueError, RecursionError):
            raise _invalid(constraint, f"no JSON schema follows {_INLINE}") from None
        _check_costs(constraint, schema)
        held = _named("", *_exact(constraint, schema))["json_schema"]
        parts.append(f"{_INLINE} {json.dumps(held)}{part[end:]}")
    return "".join(parts)


def _from_gbnf(constraint: Constraint, text: str) -> str:
    try:
        return gbnf_to_lark(text)
    except (IndexError, RecursionError):
        raise _invalid(constraint, "it ends too early, or is too deeply nested") from None
    except Exception as error:  # noqa: BLE001 - the converter has no type of its own for most
        raise _invalid(constraint, _reason(str(error))) from None


def _invalid(constraint: Constraint, reason: str) -> InvalidConstraint:
    return InvalidConstraint(f"invalid {_NAMES[constraint.kind]}: {reason}")


def _reason(message: str) -> str:
    """The line of llguidance's message that says what is wrong."""
    if message.startswith("NoExtensionBias"):
        return "no text that the model can write matches it"
    lines = message.splitlines() or ["it cannot be read"]
    line = next((line for line in lines if line.startswith("error: ")), lines[0])
    return line.removeprefix("error: ")[:_REASON_CHARACTERS]
