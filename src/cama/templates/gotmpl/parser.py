"""From tokens to nodes: the rules of Go's text/template, and its limits made ours."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from cama.core.errors import InvalidTemplate
from cama.templates.gotmpl import nodes
from cama.templates.gotmpl.failure import Failure, broken, shown
from cama.templates.gotmpl.lexer import Kind, Token, tokens
from cama.templates.gotmpl.literals import read_character, read_number, read_string
from cama.templates.gotmpl.nodes import Body, Command, Operand, Pipe

MAX_SOURCE: Final = 256 << 10
"""Characters of a template; the longest that models come with have some ten thousand."""

MAX_NESTING: Final = 100

_BRANCHES: Final[Mapping[str, type[nodes.If | nodes.With | nodes.Range]]] = {
    "if": nodes.If,
    "with": nodes.With,
    "range": nodes.Range,
}
_KEYWORDS: Final = (
    "block", "break", "continue", "define", "else", "end", "if", "range", "template", "with",
)  # fmt: skip
_OPERANDS: Final = {
    Kind.WORD, Kind.FIELD, Kind.VARIABLE, Kind.DOT, Kind.NUMBER, Kind.CHARACTER, Kind.STRING,
    Kind.RAW_STRING,
}  # fmt: skip
_CONSTANTS: Final[Mapping[str, Operand]] = {
    "true": nodes.Literal(True),
    "false": nodes.Literal(False),
    "nil": nodes.Nil(),
}

_Stop = Literal["end", "else", ""]
"""What a body ended with; "" is the end of the template."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """``defined`` are the bodies of {{define}} and {{block}} by name."""

    body: Body
    defined: Mapping[str, Body]


class _Ended(NamedTuple):
    body: Body
    by: _Stop
    line: int


def parse(source: str, functions: frozenset[str]) -> Parsed:
    """Read ``source``, which may call ``functions``. Raises InvalidTemplate with the line."""
    if len(source) > MAX_SOURCE:
        raise InvalidTemplate(f"template error: it has more than {MAX_SOURCE} characters", line=1)
    parser = _Parser(tokens(source), functions)
    try:
        return parser.template()
    except Failure as failure:
        raise broken(parser.line, failure.reason) from None


class _Parser:
    """Reads one template. Raises Failure, and the lexer's InvalidTemplate."""

    def __init__(self, found: Iterable[Token], functions: frozenset[str]) -> None:
        self._tokens = iter(found)
        self._functions = functions
        self._defined: dict[str, Body] = {}
        self._variables = ["$"]
        self._nesting = 0
        self._loops = 0
        self.line = 1
        self._peeked: list[Token] = []

    def template(self) -> Parsed:
        ended = self._body(at_top=True)
        if ended.by:
            raise Failure(f"unexpected {{{{{ended.by}}}}}")
        return Parsed(ended.body, self._defined)

    # Tokens

    def _peek(self) -> Token:
        if not self._peeked:
            self._peeked.append(next(self._tokens))
        return self._peeked[-1]

    def _next(self) -> Token:
        token = self._peeked.pop() if self._peeked else next(self._tokens)
        self.line = token.line
        return token

    def _skip_space(self) -> Token:
        """The next token that is no space, not taken yet."""
        while self._peek().kind is Kind.SPACE:
            self._next()
        return self._peek()

    def _take(self, kind: Kind, text: str = "") -> bool:
        token = self._skip_space()
        found = token.kind is kind and text in ("", token.text)
        if found:
            self._next()
        return found

    def _expect_close(self, what: str) -> None:
        if not self._take(Kind.CLOSE):
            raise Failure(f"unexpected {shown(self._next().text)} in {what}")

    def _name(self, what: str) -> str:
        token = self._skip_space()
        if token.kind not in (Kind.STRING, Kind.RAW_STRING):
            raise Failure(f"{what} needs a name in quotes, not {shown(token.text)}")
        return read_string(self._next().text)

    # Bodies

    def _body(self, *, at_top: bool = False) -> _Ended:
        """Nodes up to the {{end}} or {{else}} that is not theirs, which is taken."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise Failure(f"blocks are nested deeper than {MAX_NESTING}")
        made: list[nodes.Node] = []
        while (token := self._next()).kind is not Kind.END:
            if token.kind is Kind.TEXT:
                made.append(nodes.Text(token.text))
                continue
            word = self._keyword()
            if word in ("end", "else"):
                return self._leave(made, "end" if word == "end" else "else")
            made += self._action(word, token.line, at_top=at_top)
        return self._leave(made, "")

    def _leave(self, made: list[nodes.Node], by: _Stop) -> _Ended:
        self._nesting -= 1
        if by == "end":
            self._expect_close("end")
        return _Ended(tuple(made), by, self.line)

    def _keyword(self) -> str:
        """The word that makes this action more than a pipeline, which is taken."""
        token = self._skip_space()
        if token.kind is Kind.WORD and token.text in _KEYWORDS:
            return self._next().text
        return ""

    def _action(self, word: str, line: int, *, at_top: bool) -> list[nodes.Node]:
        match word:
            case "":
                return [nodes.Action(line, self._pipe("command"))]
            case "if" | "with" | "range":
                return [self._control(word, line)]
            case "break" | "continue":
                return [self._jump(word, line)]
            case "template":
                name = self._name("template")
                pipe = None if self._take(Kind.CLOSE) else self._pipe("template clause")
                return [nodes.Call(line, name, pipe)]
            case "block":
                name = self._name("block")
                called = nodes.Call(line, name, self._pipe("block clause"))
                self._define(name)
                return [called]
            case "define" if at_top:
                name = self._name("define")
                self._expect_close("define clause")
                self._define(name)
                return []
        raise Failure(f"unexpected {{{{{word}}}}}")

    def _jump(self, word: str, line: int) -> nodes.Node:
        self._expect_close(word)
        if not self._loops:
            raise Failure(f"{{{{{word}}}}} outside {{{{range}}}}")
        return nodes.Break(line) if word == "break" else nodes.Continue(line)

    def _control(self, word: str, line: int) -> nodes.Node:
        outside = len(self._variables)
        pipe = self._pipe(word)
        self._loops += word == "range"
        ended = self._body()
        self._loops -= word == "range"
        otherwise = self._otherwise(word, ended) if ended.by == "else" else ()
        if not ended.by:
            raise Failure(f"unexpected end of the template: the {word} of line {line} has no end")
        del self._variables[outside:]
        return _BRANCHES[word](line, pipe, ended.body, otherwise)

    def _otherwise(self, word: str, ended: _Ended) -> Body:
        chained = self._keyword()
        if chained and chained == word and word != "range":
            self._nesting += 1  # a chain of a thousand links is as deep as blocks in blocks
            if self._nesting > MAX_NESTING:
                raise Failure(f"blocks are nested deeper than {MAX_NESTING}")
            link = self._control(word, self.line)
            self._nesting -= 1
            return (link,)
        if chained:
            raise Failure(f"unexpected {{{{else {chained}}}}}")
        self._expect_close("else")
        last = self._body()
        if last.by != "end":
            raise Failure(f"expected {{{{end}}}} for the else of line {ended.line}")
        return last.body

    def _define(self, name: str) -> None:
        """Read a body that has neither the loops nor the variables around it."""
        around = self._loops, self._variables
        self._loops, self._variables = 0, ["$"]
        ended = self._body()
        self._loops, self._variables = around
        if ended.by != "end":
            raise Failure(f"the definition of {shown(name)} has no end")
        if _is_empty(self._defined.get(name, ())):
            self._defined[name] = ended.body
        elif not _is_empty(ended.body):
            raise Failure(f"multiple definitions of template {shown(name)}")

    # Pipelines

    def _pipe(self, context: str, closing: str = "") -> Pipe:
        """A pipeline and what closes it: the end of the action, or ``closing``."""
        names, declares = self._declared(context)
        commands: list[Command] = []
        while True:
            token = self._skip_space()
            if token.kind is Kind.CLOSE if not closing else token.text == closing:
                self._next()
                break
            if token.kind not in _OPERANDS and token.text != "(":
                raise Failure(f"unexpected {shown(token.text)} in {context}")
            commands.append(self._command())
        self._check(commands, context)
        return Pipe(tuple(commands), names, declares)

    def _check(self, commands: list[Command], context: str) -> None:
        if not commands:
            raise Failure(f"missing value for {context}")
        for place, command in enumerate(commands[1:], 2):
            if isinstance(command.first, nodes.Literal | nodes.Nil | nodes.Dot):
                raise Failure(f"non executable command in pipeline stage {place}")

    def _declared(self, context: str) -> tuple[tuple[str, ...], bool]:
        """The variables that a pipeline begins by setting, and whether they are new."""
        names: list[str] = []
        while self._skip_space().kind is Kind.VARIABLE:
            variable = self._next()
            had_space = self._peek().kind is Kind.SPACE
            after = self._skip_space()
            is_set = after.text in (":=", "=") and after.kind is Kind.MARK
            if is_set or (after.text == "," and context == "range" and not names):
                self._next()
                names.append(variable.text)
                if is_set:
                    self._variables += names
                    return tuple(names), after.text == ":="
            elif names or after.text == ",":
                raise Failure(f"a pipeline of {context} cannot set variables like that")
            else:
                self._put_back(variable, had_space)
                break
        if names:
            raise Failure("range can only initialize variables")
        return (), False

    def _put_back(self, variable: Token, had_space: bool) -> None:
        if had_space:
            self._peeked.append(Token(Kind.SPACE, " ", variable.line))
        self._peeked.append(variable)

    def _command(self) -> Command:
        """Operands with spaces between, and the bar behind them if there is one."""
        found = [self._operand()]
        while self._peek().kind is Kind.SPACE:
            token = self._skip_space()
            if token.kind not in _OPERANDS and token.text != "(":
                break
            found.append(self._operand())
        token = self._peek()
        if token.text == "|" and token.kind is Kind.MARK:
            self._next()
            if self._skip_space().kind is Kind.CLOSE or self._peek().text == ")":
                raise Failure("missing command after |")
        elif token.kind is not Kind.CLOSE and token.text != ")":
            raise Failure(f"unexpected {shown(token.text)} in operand")
        return Command(found[0], tuple(found[1:]))

    def _operand(self) -> Operand:
        base = self._term()
        names: list[str] = []
        while self._peek().kind is Kind.FIELD:
            names.append(self._next().text[1:])
        if not names:
            return base
        match base:
            case nodes.Field(first):
                return nodes.Field((*first, *names))
            case nodes.Variable(name):
                return nodes.Variable(name, tuple(names))
            case nodes.Literal() | nodes.Nil() | nodes.Dot():
                raise Failure(f"unexpected .{names[0]} after a value that has no fields")
        return nodes.Chain(base, tuple(names))

    def _term(self) -> Operand:
        token = self._next()
        match token.kind:
            case Kind.WORD:
                return self._word(token.text)
            case Kind.FIELD:
                return nodes.Field((token.text[1:],))
            case Kind.VARIABLE:
                if token.text not in self._variables:
                    raise Failure(f"undefined variable {shown(token.text)}")
                return nodes.Variable(token.text)
            case Kind.DOT:
                return nodes.Dot()
            case Kind.NUMBER:
                return nodes.Literal(read_number(token.text))
            case Kind.CHARACTER:
                return nodes.Literal(read_character(token.text))
            case Kind.STRING | Kind.RAW_STRING:
                return nodes.Literal(read_string(token.text))
        return self._parenthesized()

    def _word(self, word: str) -> Operand:
        if word in _CONSTANTS:
            return _CONSTANTS[word]
        if word not in self._functions:
            raise Failure(f"function {shown(word)} not defined")
        return nodes.Function(word)

    def _parenthesized(self) -> Pipe:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise Failure(f"parentheses are nested deeper than {MAX_NESTING}")
        pipe = self._pipe("parenthesized pipeline", closing=")")
        self._nesting -= 1
        return pipe


def _is_empty(body: Body) -> bool:
    """Whether nothing but white space stands in ``body``."""
    return all(isinstance(node, nodes.Text) and not node.text.strip() for node in body)
