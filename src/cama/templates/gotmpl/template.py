"""A Go template: read once, executed with any data."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

from cama.templates.gotmpl import nodes
from cama.templates.gotmpl.evaluator import execute
from cama.templates.gotmpl.functions import NAMES
from cama.templates.gotmpl.nodes import Body
from cama.templates.gotmpl.parser import parse


class GoTemplate:
    """Threads may share one."""

    def __init__(self, body: Body, defined: Mapping[str, Body]) -> None:
        self.body = body
        self.defined = defined

    @classmethod
    def read(cls, source: str) -> Self:
        """Raises InvalidTemplate, with the line."""
        parsed = parse(source, NAMES)
        return cls(parsed.body, parsed.defined)

    def with_body(self, body: Body) -> "GoTemplate":
        """Another main part, with the same definitions."""
        return GoTemplate(body, self.defined)

    def execute(self, data: Any, now: Callable[[], datetime] = datetime.now) -> str:
        """The text for ``data``.

        Raises InvalidRequest, with the line, when the template fails or costs too much.
        """
        return execute(self.body, self.defined, data, now)

    def nodes(self) -> list[nodes.Node]:
        """Every node of the main part and of the definitions."""
        bodies = (self.body, *self.defined.values())
        return [node for body in bodies for node in nodes.walk(body)]

    def names(self) -> frozenset[str]:
        """The names of all fields that it asks for, of whatever, in lower case."""
        return frozenset(
            name.lower()
            for node in self.nodes()
            for operand in nodes.operands(nodes.pipe_of(node))
            for name in nodes.names_of(operand)
        )
