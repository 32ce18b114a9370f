"""Answers whose thoughts and calls stand between marks: nearly every family's."""

import secrets
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cama.core.answer import Piece, ToolCall
from cama.templates.answers.base import Call, CallFormat, Incomplete, Malformed
from cama.templates.answers.lark import Tools
from cama.templates.answers.marks import HELD_SPACE, Balance, Marks, space_before

MAX_WORK = 1 << 25
"""Characters that are read to find the end of a block: its values may hold the mark of its end."""

MAX_BLOCK = 1 << 22
"""Characters of a block of calls; a longer one is text."""

_BETWEEN_CALLS = "; \n\t\r"
_ID_CHARACTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Tags:
    """What stands around thoughts."""

    open: str
    close: str


@dataclass(slots=True)
class Out:
    """What a piece of an answer turned out to be. ``n_calls`` counts those of the whole answer."""

    n_calls: int = 0
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)

    def call(self, calls: Sequence[Call]) -> None:
        for call in calls:
            name = call.id or new_id()
            self.calls.append(ToolCall(call.name, call.arguments, name, self.n_calls))
            self.n_calls += 1

    def take(self) -> Piece:
        """The piece so far; the next one begins."""
        piece = Piece("".join(self.texts), "".join(self.thoughts), tuple(self.calls))
        self.texts, self.thoughts, self.calls = [], [], []
        return piece


def new_id() -> str:
    """An id for a call, in Ollama's form."""
    return "call_" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(8))


class Block:
    """A block of calls that is being read, from behind ``mark``, the text that opened it."""

    def __init__(self, form: CallFormat, mark: str, tools: Tools) -> None:
        self._form = form
        self._tools = tools
        self._mark = mark
        self._parts: list[str] = []
        self._length = 0
        self._work = 0
        self._tail = ""
        self._closes = Marks(form.closes)
        self._balance = None if form.closes else Balance(form.quotes)

    def feed(self, text: str) -> "tuple[str, Sequence[Call], str] | None":
        """Text before the calls, the calls, and the rest of ``text``; None while more is needed."""
        before = self._length
        self._parts.append(text)
        self._length += len(text)
        for end, after in self._ends(text):
            if before + after > MAX_BLOCK:
                break
            self._work += before + end
            whole = "".join(self._parts)
            try:
                skipped, calls = self._read(whole[: before + end])
            except Incomplete:
                if self._work < MAX_WORK:
                    continue
            except Malformed:
                pass
            else:
                return skipped, calls, text[after:]
            return self._mark + whole[: before + after], (), text[after:]
        if self._length <= MAX_BLOCK:
            return None
        whole = "".join(self._parts)
        return self._mark + whole[:MAX_BLOCK], (), whole[MAX_BLOCK:]

    def end(self) -> tuple[str, Sequence[Call]]:
        """The same at the end of the answer: marks at the end of a block are often left out."""
        body = "".join(self._parts)
        if self._form.is_open_ended:
            return self._mark + body, ()
        try:
            return self._read(body)
        except (Incomplete, Malformed):
            return self._mark + body, ()

    def _ends(self, text: str) -> list[tuple[int, int]]:
        """Where the block may end, and where what follows begins, as offsets into ``text``.

        An end may be before it, where its mark began.
        """
        if self._balance:
            return [(end, end) for end in self._balance.ends(text)]
        found: list[tuple[int, int]] = []
        n, text = len(self._tail), self._tail + text
        at = 0
        while match := self._closes.find(text, at):
            at = match.end()
            found.append((match.start() - n, at - n))
        self._tail = text[max(at, len(text) - self._closes.longest + 1) :]
        return found

    def _read(self, body: str) -> tuple[str, Sequence[Call]]:
        """The calls; when there are none, those behind a mark in ``body`` that opens anew."""
        try:
            return "", self._form.read(body, self._tools)
        except Malformed:
            at, mark = max((body.rfind(mark), mark) for mark in self._form.opens)
            if self._form.is_bare or at < 0:
                raise
            return self._mark + body[:at], self._form.read(body[at + len(mark) :], self._tools)


class TaggedAnswer:
    """Takes apart an answer of thoughts, text and blocks of calls.

    ``tags`` are the thoughts' and ``is_open`` says that the prompt has opened them; ``forms`` are
    the ways in which calls are written, none where they are not looked for; ``noise`` are marks
    that mean nothing to a reader.
    """

    def __init__(
        self,
        tags: Tags | None,
        forms: Sequence[CallFormat],
        tools: Tools,
        *,
        noise: Sequence[str] = (),
        is_open: bool = False,
    ) -> None:
        self._tags = tags
        self._tools = tools
        self._forms = {mark: form for form in forms if not form.is_bare for mark in form.opens}
        self._bare = {mark: form for form in forms if form.is_bare for mark in form.opens}
        self._marks = Marks((*self._forms, *noise))
        self._close = Marks([tags.close] if tags else ())
        self._block: Block | None = None
        self._held = ""
        self._out = Out()
        self._state: Callable[[str], str | None] = self._begin if tags else self._first
        if is_open:
            self._state = self._space_in_thoughts

    def feed(self, text: str) -> Piece:
        rest: str | None = text
        while rest:
            rest = self._state(rest)
        return self._out.take()

    def end(self) -> Piece:
        if self._block:
            text, calls = self._block.end()
            self._out.texts.append(text)
            self._out.call(calls)
        elif self._state == self._think:
            self._out.thoughts.append(self._held)
        else:
            self._out.texts.append(self._held)
        self._held, self._block = "", None
        return self._out.take()

    # Each state takes text behind what it held back, and returns what the next one is to see.

    def _begin(self, text: str) -> str | None:
        """Nothing but white space so far: are there thoughts?"""
        text = self._taken(text)
        body, tag = text.lstrip(), self._tags.open if self._tags else ""
        if len(text) - len(body) <= HELD_SPACE:
            if body.startswith(tag):
                self._state = self._space_in_thoughts
                return body[len(tag) :]
            if tag.startswith(body):
                self._held = text
                return None
        self._state = self._first
        return text

    def _space_in_thoughts(self, text: str) -> str | None:
        self._state = self._think if text.strip() else self._state
        return text.lstrip()

    def _think(self, text: str) -> str | None:
        text = self._taken(text)
        match = self._close.find(text)
        if match is None:
            kept = len(text) - self._close.begun(text)
            self._out.thoughts.append(text[:kept])
            self._held = text[kept:]
            return None
        self._out.thoughts.append(text[: match.start()])
        self._state = self._space
        return text[match.end() :]

    def _space(self, text: str) -> str | None:
        self._state = self._first if text.strip() else self._state
        return text.lstrip()

    def _first(self, text: str) -> str | None:
        """Nothing was said yet: a call may stand without marks."""
        text = self._taken(text)
        body = text.lstrip(_BETWEEN_CALLS if self._out.n_calls else None)
        lead = text[: len(text) - len(body)]
        if self._bare and len(lead) <= HELD_SPACE:
            for mark, form in self._bare.items():
                if body.startswith(mark):
                    self._open(form, lead)
                    return body
            if any(mark.startswith(body) for mark in self._bare):
                self._held = text
                return None
        self._state = self._text
        return text

    def _text(self, text: str) -> str | None:
        text = self._taken(text)
        match = self._marks.find(text)
        if match is None:
            kept = len(text) - self._marks.begun(text)
            if self._forms:
                kept -= space_before(text, kept)
            self._out.texts.append(text[:kept])
            self._held = text[kept:]
            return None
        start, form = match.start(), self._forms.get(match[0])
        if form:
            start -= space_before(text, start)
            self._open(form, text[start : match.end()])
        self._out.texts.append(text[:start])
        return text[match.end() :]

    def _open(self, form: CallFormat, mark: str) -> None:
        self._block = Block(form, mark, self._tools)
        self._state = self._calls

    def _calls(self, text: str) -> str | None:
        assert self._block
        found = self._block.feed(text)
        if found is None:
            return None
        before, calls, rest = found
        self._block = None
        self._out.texts.append(before)
        self._out.call(calls)
        self._state = self._space if calls else self._text
        return rest

    def _taken(self, text: str) -> str:
        held, self._held = self._held, ""
        return held + text
