"""The environment in which chat templates run: Jinja's immutable sandbox, with limits.

Filters and methods that only lay out pages, or whose result can be of any size, are not there.
"""

import json
import re
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any, NoReturn

from jinja2 import Undefined, nodes, pass_context
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cama.core.errors import InvalidRequest
from cama.templates.budget import Budget
from cama.templates.metering import ADMIT, JOIN, STEP, TEXT

BUDGET = " budget"
"""The variable that holds the rendering's budget; no template can spell it."""

_FILTERS = (
    "abs", "attr", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first",
    "float", "groupby", "int", "items", "last", "length", "list", "lower", "map", "max", "min",
    "reject", "rejectattr", "reverse", "safe", "select", "selectattr", "sort", "title", "trim",
    "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
_TEXT_METHODS = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "format", "index", "isalnum",
    "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
    "isprintable", "isspace", "istitle", "isupper", "join", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit",
    "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
})  # fmt: skip
_MAX_BITS = 4096
_MAX_INDENT = 256
_MAX_PRECISION = 300
_WIDE = re.compile(r"\d{5}|\*")
_FIELD_WIDTH = 10_000


class TemplateRefusal(TemplateError):
    """What a template's own ``raise_exception`` raises."""


def _raise_exception(message: object) -> NoReturn:
    raise TemplateRefusal(str(message))


class GenerationBlock(Extension):
    """``{% generation %}`` marks text for training; here it does nothing."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """Runs metered templates; the budget comes with the context of each rendering."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[GenerationBlock, LoopControlExtension],
        )
        self.filters = {name: FILTERS[name] for name in _FILTERS} | _BOUNDED_FILTERS
        self.globals.pop("lipsum")
        self.globals["raise_exception"] = _raise_exception

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr not in _TEXT_METHODS:
            return False
        if isinstance(obj, int | float):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        budget.step()
        method = getattr(obj, "__wrapped__", obj)  # the sandbox wraps str.format
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str):
            args = _metered_arguments(budget, owner, method.__name__, args, kwargs)
        result = super().call(context, obj, *args, **kwargs)
        budget.weigh(result)
        return result

    def call_filter(
        self,
        name: str,
        value: Any,
        args: Any = None,
        kwargs: Any = None,
        context: Context | None = None,
        eval_ctx: nodes.EvalContext | None = None,
    ) -> Any:
        """Apply a filter that another one, such as ``map``, was told by name."""
        _step_by_name(context, value)
        return super().call_filter(name, value, args, kwargs, context, eval_ctx)

    def call_test(
        self,
        name: str,
        value: Any,
        args: Any = None,
        kwargs: Any = None,
        context: Context | None = None,
        eval_ctx: nodes.EvalContext | None = None,
    ) -> Any:
        _step_by_name(context, value)
        return super().call_test(name, value, args, kwargs, context, eval_ctx)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = _budget(context)
        if operator in ("*", "**"):
            _check_growth(budget, operator, left, right)
        elif operator == "%" and isinstance(left, str):
            _check_percent_format(budget, left, right)
        elif operator == "+" and isinstance(left, str) and isinstance(right, str):
            budget.make_text(len(left) + len(right))
        result = super().call_binop(context, operator, left, right)
        budget.weigh(result)
        return result


def _budget(context: Context) -> Budget:
    budget: Budget = context.parent[BUDGET]
    return budget


def _step_by_name(context: Context | None, value: Any) -> None:
    if context is not None:
        budget = _budget(context)
        budget.step(budget.weigh(value))


def _refuse(what: str) -> NoReturn:
    raise InvalidRequest(f"the model's chat template was stopped: it {what}")


def _check_growth(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Multiplication and powers, of numbers and of sequences."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else 0
        if max(bits, left.bit_length(), right.bit_length()) > _MAX_BITS:
            _refuse("makes too large a number")
        return
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(times, int):
            size = len(sequence) if isinstance(sequence, str) else budget.weigh(sequence)
            budget.make_text(size * max(0, times))


def _check_percent_format(budget: Budget, text: str, values: Any) -> None:
    if _WIDE.search(text):
        _refuse("formats too wide a field")
    budget.make_text(len(text) + text.count("%") * (_FIELD_WIDTH + budget.weigh(values)))


def _metered_arguments(
    budget: Budget, text: str, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The arguments of a text's method, after the size of its result was accounted for."""
    match method, args:
        case "join", (values,):
            items = list(values)
            budget.make_text(sum(map(budget.weigh, items)) + len(text) * len(items))
            return (items,)
        case "replace", (str() as old, str() as new, *_):
            budget.make_text(len(text) + text.count(old) * len(new))
        case "format", _:
            _check_format(budget, text, [*args, *kwargs.values()])
        case _:
            budget.spend(len(text))
    return args


def _check_format(budget: Budget, text: str, values: list[Any]) -> None:
    fields = [(name, spec) for _, name, spec, _ in Formatter().parse(text) if name is not None]
    if any(spec and ("{" in spec or _WIDE.search(spec)) for _, spec in fields):
        _refuse("formats too wide a field")
    largest = max(map(budget.weigh, values), default=0)
    budget.make_text(len(text) + len(fields) * (_FIELD_WIDTH + largest))


def _text(budget: Budget, value: Any) -> str:
    if isinstance(value, str):
        budget.spend(len(value))
        return str(value)
    budget.make_text(budget.weigh(value))
    return str(value)


@pass_context
def _count_step(context: Context, size: int) -> bool:
    _budget(context).step(size)
    return True


@pass_context
def _printed(context: Context, value: Any) -> str:
    return _text(_budget(context), value)


@pass_context
def _concatenated(context: Context, parts: list[Any]) -> str:
    budget = _budget(context)
    texts = [_text(budget, part) for part in parts]
    budget.make_text(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _admitted(context: Context, value: Any) -> Any:
    budget = _budget(context)
    budget.step()
    budget.weigh(value)
    return value


@pass_context
def _join(context: Context, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    items = list(FILTERS["map"](context, value, attribute=attribute) if attribute else value)
    budget = _budget(context)
    texts = [_text(budget, item) for item in items]
    budget.make_text(sum(map(len, texts)) + len(str(d)) * len(texts))
    return str(d).join(texts)


@pass_context
def _replace(context: Context, s: Any, old: Any, new: Any, count: int | None = None) -> str:
    budget = _budget(context)
    text, old, new = (_text(budget, value) for value in (s, old, new))
    budget.make_text(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


@pass_context
def _indent(
    context: Context, s: Any, width: int | str = 4, first: bool = False, blank: bool = False
) -> str:
    budget = _budget(context)
    text = _text(budget, s)
    size = len(width) if isinstance(width, str) else width
    if size > _MAX_INDENT:
        _refuse("indents too far")
    budget.make_text(len(text) + (text.count("\n") + 2) * max(0, size))
    indented: str = FILTERS["indent"](text, width, first, blank)
    return indented


@pass_context
def _format(context: Context, value: Any, *args: Any, **kwargs: Any) -> str:
    budget = _budget(context)
    text, values = _text(budget, value), kwargs or args
    _check_percent_format(budget, text, values)
    return text % values


@pass_context
def _string(context: Context, value: Any) -> str:
    return _text(_budget(context), value)


@pass_context
def _sum(context: Context, value: Any, attribute: str | int | None = None, start: Any = 0) -> Any:
    items = list(FILTERS["map"](context, value, attribute=attribute) if attribute else value)
    if not all(isinstance(item, int | float) for item in (*items, start)):
        _refuse("adds up what are not numbers")
    return sum(items, start)


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > _MAX_PRECISION:
        _refuse("rounds to too many digits")
    rounded: float = FILTERS["round"](value, precision, method)
    return rounded


@pass_context
def _tojson(
    context: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if isinstance(value, Undefined):
        raise TypeError("an undefined value has no JSON")
    budget = _budget(context)
    budget.make_text(budget.weigh(value))
    if indent is not None and not 0 <= indent <= _MAX_INDENT:
        _refuse("indents too far")
    text = json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
    budget.make_text(len(text))
    return text


_BOUNDED_FILTERS: dict[str, Callable[..., Any]] = {
    STEP: _count_step,
    TEXT: _printed,
    JOIN: _concatenated,
    ADMIT: _admitted,
    "format": _format,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "string": _string,
    "sum": _sum,
    "tojson": _tojson,
}
