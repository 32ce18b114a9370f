"""From a constraint to the guard of one answer; the costly steps are done once."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from cama.core.generation import Constraint
from cama.engine.base import Tokenizer
from cama.engine.constraint.healing import Healer
from cama.engine.constraint.matcher import After, Matcher
from cama.engine.deep_stack import on_deep_stack
from cama.engine.sampling.guard import Guard
from cama.engine.visible import Visible, with_visible

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_KEPT = 16
"""Compiled constraints; a large one holds some ten megabytes."""

_STACK_BYTES = 1 << 20
_STACK_BYTES_PER_CHARACTER = 2048

_TABLES = 4
"""Tables of the vocabulary; the control tokens that are visible depend on a model's template."""

_Key = tuple[str, str, frozenset[int]]


_NOTHING: Visible = {}


class Compiler:
    """Makes guards for the answers of one model. Any thread may call it.

    The first guard waits for the table of the vocabulary, the first of each text for its
    compilation: seconds at worst, so not a task for a thread that others wait for.
    """

    def __init__(self, tokenizer: Tokenizer, n_vocab: int) -> None:
        self.healer = Healer(tokenizer, n_vocab)
        self._tokenizer = tokenizer
        self._n_vocab = n_vocab
        self._tables: dict[frozenset[int], LLTokenizer] = {}  # least recently used first
        self._building = threading.Lock()  # guards _tables
        self._lock = threading.Lock()  # guards _compiled
        self._compiled: dict[_Key, LLMatcher] = {}  # least recently used first

    def guard(self, constraint: Constraint, visible: Visible = _NOTHING) -> Guard:
        """A guard at the beginning of an answer in which some control tokens are ``visible``.

        Raises InvalidConstraint, and Unsupported for a vocabulary that cannot be constrained.
        """
        key = (constraint.kind, constraint.text, frozenset(visible))
        matcher = self._look_up(key)
        if matcher is None:
            matcher = self._compile(constraint, visible, key)
        guard = Matcher(matcher.deep_copy(), self._n_vocab, partial(self._forget, key))
        if not constraint.after:
            return guard
        piece = with_visible(self._tokenizer.piece, visible) if visible else self._tokenizer.piece
        return After(constraint.after, guard, piece, self._n_vocab)

    def _look_up(self, key: _Key) -> LLMatcher | None:
        with self._lock:
            matcher = self._compiled.pop(key, None)
            if matcher is not None:
                self._compiled[key] = matcher
            return matcher

    def _compile(self, constraint: Constraint, visible: Visible, key: _Key) -> LLMatcher:
        # Imported here: a runner that is never asked for a form starts 50 ms earlier.
        from cama.engine.constraint.grammars import compile_grammar, grammar_of

        grammar, table = grammar_of(constraint), self._vocabulary(visible)
        work = partial(compile_grammar, constraint, grammar, table)
        matcher = on_deep_stack(
            work, _STACK_BYTES + _STACK_BYTES_PER_CHARACTER * len(constraint.text)
        )
        with self._lock:
            self._compiled[key] = matcher
            if len(self._compiled) > _KEPT:
                del self._compiled[next(iter(self._compiled))]
        return matcher

    def _vocabulary(self, visible: Visible) -> LLTokenizer:
        from cama.engine.constraint.grammars import vocabulary_table

        with self._building:
            key = frozenset(visible)
            table = self._tables.pop(key, None)
            if table is None:
                piece = with_visible(self._tokenizer.piece, visible)
                pieces = [piece(token) for token in range(self._n_vocab)]
                table = vocabulary_table(pieces, self._tokenizer.end_of_generation)
            self._tables[key] = table
            if len(self._tables) > _TABLES:
                del self._tables[next(iter(self._tables))]
            return table

    def _forget(self, key: _Key) -> None:
        """Copies share what a matcher learnt: after a failure others would fail as well."""
        with self._lock:
            self._compiled.pop(key, None)
