"""What a template consists of, once read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """``.A.B``, of what dot is."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """``$x.A.B``; ``name`` has its dollar."""

    name: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """``(pipeline).A.B``, or a function's result and fields of it."""

    base: "Operand"
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    name: str


@dataclass(frozen=True, slots=True)
class Dot:
    pass


@dataclass(frozen=True, slots=True)
class Nil:
    pass


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each given the result of the one before; ``names`` are the variables it sets."""

    commands: tuple["Command", ...]
    names: tuple[str, ...] = ()
    declares: bool = False


Operand = Field | Variable | Chain | Function | Dot | Nil | Literal | Pipe


@dataclass(frozen=True, slots=True)
class Command:
    first: Operand
    arguments: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    line: int
    pipe: Pipe


@dataclass(frozen=True, slots=True)
class _Branch:
    line: int
    pipe: Pipe
    body: "Body"
    otherwise: "Body"


class If(_Branch):
    __slots__ = ()


class With(_Branch):
    __slots__ = ()


class Range(_Branch):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Call:
    """``{{ template "name" pipeline }}``."""

    line: int
    name: str
    pipe: Pipe | None


@dataclass(frozen=True, slots=True)
class Break:
    line: int


@dataclass(frozen=True, slots=True)
class Continue:
    line: int


Node = Text | Action | If | With | Range | Call | Break | Continue
Body = tuple[Node, ...]


def walk(body: Body) -> Iterator[Node]:
    """Every node of ``body``, each before what it contains."""
    for node in body:
        yield node
        if isinstance(node, If | With | Range):
            yield from walk(node.body)
            yield from walk(node.otherwise)


def pipe_of(node: Node) -> Pipe | None:
    return None if isinstance(node, Text | Break | Continue) else node.pipe


def operands(pipe: Pipe | None) -> Iterator[Operand]:
    """Every operand of ``pipe``, and of those in parentheses."""
    for command in pipe.commands if pipe else ():
        for operand in (command.first, *command.arguments):
            yield from _inner(operand)


def _inner(operand: Operand) -> Iterator[Operand]:
    yield operand
    if isinstance(operand, Chain):
        yield from _inner(operand.base)
    elif isinstance(operand, Pipe):
        yield from operands(operand)


def names_of(operand: Operand) -> tuple[str, ...]:
    """The names of the fields that ``operand`` itself asks for."""
    named: Any = operand
    return named.names if isinstance(operand, Field | Variable | Chain) else ()
