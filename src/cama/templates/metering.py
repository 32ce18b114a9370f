"""Rewrites a parsed template so that all it does is counted.

The calls put in are filters whose names no template can write, so that it can neither shadow nor
leave them out.
"""

from typing import Any, Final, TypeVar

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

STEP: Final = " step"
TEXT: Final = " text"
JOIN: Final = " join"
ADMIT: Final = " admit"

_Literal = TypeVar("_Literal", nodes.List, nodes.Tuple, nodes.Dict)


def meter(template: nodes.Template) -> nodes.Template:
    """``template`` with every loop turn, call, text and container accounted for."""
    metered: nodes.Template = _Meter().visit(template)
    return metered


class _Meter(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, _step_statement(node))
        if node.test is not None:  # a turn that the test skips costs time as well
            node.test = nodes.And(_step(node.test), node.test, lineno=node.lineno)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._with_step(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._with_step(node)

    def _with_step(self, node: nodes.Macro | nodes.CallBlock) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, _step_statement(node))
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [
            child if isinstance(child, nodes.TemplateData | nodes.Const) else _filter(child, TEXT)
            for child in node.nodes
        ]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), JOIN)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        self.generic_visit(node)
        # Without an operand it is the head of a {% filter %} block, which must stay what it is.
        return node if node.node is None else _filter(node, ADMIT)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return self._admitted(node, constant=not node.items)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return self._admitted(node, constant=not node.items)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        is_target = node.ctx != "load"
        all_constant = all(isinstance(item, nodes.Const) for item in node.items)
        return self._admitted(node, constant=is_target or all_constant)

    def _admitted(self, node: _Literal, *, constant: bool) -> nodes.Node:
        self.generic_visit(node)
        return node if constant else _filter(node, ADMIT)


def _step(node: nodes.Node) -> nodes.Filter:
    """Counts a turn and the fixed text under ``node``; true."""
    return _filter(nodes.Const(_fixed_text(node), lineno=node.lineno), STEP)


def _step_statement(node: nodes.Node) -> nodes.ExprStmt:
    return nodes.ExprStmt(_step(node), lineno=node.lineno)


def _fixed_text(node: nodes.Node) -> int:
    data = sum(len(child.data) for child in node.find_all(nodes.TemplateData))
    constants: list[Any] = [child.value for child in node.find_all(nodes.Const)]
    return data + sum(len(value) for value in constants if isinstance(value, str))


def _filter(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
