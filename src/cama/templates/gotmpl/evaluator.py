"""Runs a template: nodes and data to text."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cama.core.errors import InvalidRequest
from cama.templates.budget import Budget
from cama.templates.gotmpl import nodes
from cama.templates.gotmpl.failure import Failure, shown
from cama.templates.gotmpl.functions import SHORT_CIRCUITS, Calls, call
from cama.templates.gotmpl.nodes import Body, Command, Operand, Pipe
from cama.templates.gotmpl.printing import display, text_of
from cama.templates.gotmpl.values import as_list, as_map, field_of, is_true, type_name

MAX_CALLS: Final = 60
"""Templates that may be running inside of one another."""

_MISSING: Final = object()
"""In place of the value that an earlier command of a pipeline hands on."""

_ROOT: Final = "$"


class _Break(Exception):
    """The way out of a loop."""


class _Continue(Exception):
    """The way to the next turn of a loop."""


def execute(body: Body, defined: Mapping[str, Body], data: Any, now: Callable[[], datetime]) -> str:
    """The text that ``body`` makes of ``data``.

    Raises InvalidRequest, with the line, when it fails, and when it costs too much.
    """
    run = _Run(defined, Calls(Budget(), now()))
    try:
        run.template(body, data)
    except Failure as failure:
        raise _refused(run.line, failure.reason) from None
    except RecursionError:
        raise _refused(run.line, "it is nested too deeply") from None
    return "".join(run.pieces)


def _refused(line: int, reason: str) -> InvalidRequest:
    return InvalidRequest(f"the model's chat template failed at line {line}: {reason}")


class _Run:
    """One execution. ``line`` is where it is."""

    def __init__(self, defined: Mapping[str, Body], calls: Calls) -> None:
        self._defined = defined
        self._calls = calls
        self._budget = calls.budget
        self._variables: list[tuple[str, Any]] = []
        self._depth = 0
        self.line = 1
        self.pieces: list[str] = []

    def template(self, body: Body, dot: Any) -> None:
        """Run a template, which sees no variables but ``$``."""
        around, self._variables = self._variables, [(_ROOT, dot)]
        self._depth += 1
        if self._depth > MAX_CALLS:
            raise Failure(f"templates call each other deeper than {MAX_CALLS}")
        self._body(body, dot)
        self._depth -= 1
        self._variables = around

    # Nodes

    def _body(self, body: Body, dot: Any) -> None:
        for node in body:
            if isinstance(node, nodes.Text):
                self._emit(node.text)
            else:
                self.line = node.line
                _STEPS[type(node)](self, node, dot)

    def _emit(self, text: str) -> None:
        self._budget.emit(len(text))
        self.pieces.append(text)

    def _action(self, node: nodes.Action, dot: Any) -> None:
        value = self._pipe(node.pipe, dot)
        if not node.pipe.names:
            self._budget.spend(self._budget.weigh(value))
            self._emit(display(value))

    def _if(self, node: nodes.If, dot: Any) -> None:
        outside = len(self._variables)
        chosen = node.body if is_true(self._pipe(node.pipe, dot)) else node.otherwise
        self._body(chosen, dot)
        del self._variables[outside:]

    def _with(self, node: nodes.With, dot: Any) -> None:
        outside = len(self._variables)
        value = self._pipe(node.pipe, dot)
        if is_true(value):
            self._body(node.body, value)
        else:
            self._body(node.otherwise, dot)
        del self._variables[outside:]

    def _range(self, node: nodes.Range, dot: Any) -> None:
        outside = len(self._variables)
        value = self._pipe(node.pipe, dot)
        inside = len(self._variables)
        turned = False
        for key, item in _pairs(value, n_names=len(node.pipe.names)):
            turned = True
            self._budget.step()
            self._turn(node.pipe, key, item)
            try:
                self._body(node.body, item)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self._variables[inside:]
        if not turned:
            self._body(node.otherwise, dot)
        del self._variables[outside:]

    def _turn(self, pipe: Pipe, key: Any, item: Any) -> None:
        """Set the variables of a loop: the item, or its key and the item."""
        values = (item,) if len(pipe.names) == 1 else (key, item)
        if pipe.declares:
            start = len(self._variables) - len(pipe.names)
            self._variables[start:] = zip(pipe.names, values, strict=True)
        else:
            for name, value in zip(pipe.names, values, strict=False):
                self._assign(name, value)

    def _call(self, node: nodes.Call, dot: Any) -> None:
        body = self._defined.get(node.name)
        if body is None:
            raise Failure(f"template {shown(node.name)} not defined")
        self._budget.step()
        self.template(body, self._pipe(node.pipe, dot) if node.pipe else None)

    def _break(self, node: nodes.Break, dot: Any) -> None:
        raise _Break

    def _continue(self, node: nodes.Continue, dot: Any) -> None:
        raise _Continue

    # Variables

    def _assign(self, name: str, value: Any) -> None:
        for place in range(len(self._variables) - 1, -1, -1):
            if self._variables[place][0] == name:
                self._variables[place] = name, value
                return
        raise Failure(f"undefined variable {shown(name)}")

    def _variable(self, name: str) -> Any:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise Failure(f"undefined variable {shown(name)}")

    # Values

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = _MISSING
        for command in pipe.commands:
            value = self._command(command, dot, value)
        if pipe.declares:
            self._variables += [(name, value) for name in pipe.names]
        else:
            for name in pipe.names:
                self._assign(name, value)
        return value

    def _command(self, command: Command, dot: Any, handed: Any) -> Any:
        """``handed`` is what the command before it made, its last argument."""
        first = command.first
        if isinstance(first, nodes.Function):
            return self._function(first.name, command.arguments, dot, handed)
        if isinstance(first, nodes.Nil):
            raise Failure("nil is not a command")
        if command.arguments or handed is not _MISSING:
            raise Failure(f"can't give an argument to {_described(first)}, which is no function")
        return self._operand(first, dot)

    def _operand(self, operand: Operand, dot: Any) -> Any:
        match operand:
            case nodes.Field(names):
                return self._fields(dot, names)
            case nodes.Variable(name, names):
                return self._fields(self._variable(name), names)
            case nodes.Literal(value):
                return value
            case nodes.Dot():
                return dot
            case nodes.Pipe():
                return self._pipe(operand, dot)
            case nodes.Function(name):
                return self._function(name, (), dot, _MISSING)
            case nodes.Chain(base, names):
                return self._fields(self._operand(base, dot), names)
        return None

    def _fields(self, value: Any, names: Iterable[str]) -> Any:
        for name in names:
            value = field_of(value, name)
        return value

    def _function(self, name: str, arguments: Sequence[Operand], dot: Any, handed: Any) -> Any:
        if name in SHORT_CIRCUITS:
            return self._decide(name == "or", arguments, dot, handed)
        values = [self._operand(argument, dot) for argument in arguments]
        if handed is not _MISSING:
            values.append(handed)
        return call(name, self._calls, values)

    def _decide(self, wanted: bool, arguments: Sequence[Operand], dot: Any, handed: Any) -> Any:
        """The first value that is true for ``or``, false for ``and``; else the last one."""
        value: Any = _MISSING
        for argument in arguments:
            value = self._operand(argument, dot)
            if is_true(value) is wanted:
                return value
        value = value if handed is _MISSING else handed
        if value is _MISSING:
            raise Failure(f"wrong number of arguments for {'or' if wanted else 'and'}: got 0")
        return value


_STEPS: Final[Mapping[type, Callable[[_Run, Any, Any], None]]] = {
    nodes.Action: _Run._action,
    nodes.If: _Run._if,
    nodes.With: _Run._with,
    nodes.Range: _Run._range,
    nodes.Call: _Run._call,
    nodes.Break: _Run._break,
    nodes.Continue: _Run._continue,
}


def _pairs(value: Any, n_names: int) -> Iterator[tuple[Any, Any]]:
    """What ``range`` goes through, each with its key: maps by sorted key."""
    items, fields = as_list(value), as_map(value)
    if items is not None:
        return iter(enumerate(items))
    if fields is not None:
        return ((key, fields[key]) for key in sorted(fields))
    if type(value) is int:
        if n_names > 1:
            raise Failure("a number cannot be ranged over with two variables")
        return ((number, number) for number in range(value))
    if value is None:
        return iter(())
    raise Failure(f"range can't iterate over {_described_value(value)}")


def _described_value(value: Any) -> str:
    return f"{shown(text_of(value))} of type {type_name(value)}"


def _described(operand: Operand) -> str:
    match operand:
        case nodes.Field(names):
            return f".{'.'.join(names)}"
        case nodes.Variable(name, names):
            return ".".join((name, *names))
        case nodes.Literal(value):
            return shown(text_of(value))
    return "a value"
