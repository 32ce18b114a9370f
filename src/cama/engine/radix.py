"""Radix trees over tokens: which texts begin alike, and how far."""

from collections.abc import Hashable, Iterator
from itertools import count
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]

Key = tuple[str, str]
"""Adapter and tenant: only prompts where both are equal may share anything."""

EMPTY: Tokens = np.empty(0, np.int32)

_TOKEN_BYTES = 4

MIN_RUN = 32
"""A branching point that has one branch left is kept only behind so many tokens of its own.

Behind fewer there is nothing worth saving; and the nodes on a path stay few, whatever was asked.
"""

End = TypeVar("End", bound=Hashable)


def common_length(a: Tokens, b: Tokens) -> int:
    """How many tokens ``a`` and ``b`` have in common at the front."""
    n = min(len(a), len(b))
    if not n or a[0] != b[0]:
        return 0
    differs = a[:n] != b[:n]
    first = int(differs.argmax())
    return first if differs[first] else n


class Node(Generic[End]):
    """A run of tokens behind ``parent``, up to token ``end`` of every text that passes through.

    ``ends`` are the texts that end here. ``used`` orders nodes by their last use; it is never
    smaller than a child's. ``data`` are the bytes of the run: equal runs are found fastest so.
    """

    __slots__ = ("children", "data", "end", "ends", "parent", "used")

    def __init__(self, parent: "Node[End] | None" = None, data: bytes = b"", used: int = 0) -> None:
        self.parent = parent
        self.data = data
        self.end: int = len(data) // _TOKEN_BYTES + (parent.end if parent else 0)
        self.used = used
        self.children: dict[int, Node[End]] = {}
        self.ends: set[End] = set()

    @property
    def run(self) -> Tokens:
        return np.frombuffer(self.data, np.int32)

    @property
    def start(self) -> int:
        return self.parent.end if self.parent else 0

    @property
    def is_leaf(self) -> bool:
        return not self.children

    def below(self) -> Iterator[End]:
        """The texts that pass through or end here."""
        nodes = [self]
        while nodes:
            node = nodes.pop()
            yield from node.ends
            nodes.extend(node.children.values())

    def tokens(self) -> Tokens:
        """All tokens up to the end of the run."""
        runs = []
        node: Node[End] | None = self
        while node is not None:
            runs.append(node.data)
            node = node.parent
        return np.frombuffer(b"".join(runs[::-1]), np.int32)


class Point(NamedTuple, Generic[End]):
    """Where a text leaves a tree: behind ``length`` tokens, at the end of ``node`` or within it."""

    node: Node[End]
    length: int

    @property
    def is_leaf(self) -> bool:
        """No text that was entered goes on from here."""
        return self.length == self.node.end and self.node.is_leaf

    def path(self) -> Iterator[Node[End]]:
        """The nodes that the text passes wholly, the deepest first, the root last."""
        node = self.node if self.length == self.node.end else self.node.parent
        while node is not None:
            yield node
            node = node.parent


class RadixTree(Generic[End]):
    """Texts by their beginnings, a tree for each key. Every leaf has an end."""

    def __init__(self) -> None:
        self._roots: dict[Key, Node[End]] = {}
        self._at: dict[End, Node[End]] = {}
        self._keys: dict[End, Key] = {}
        self._clock = count(1)

    def __contains__(self, end: End) -> bool:
        return end in self._at

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[End]:
        return iter(self._at)

    @property
    def keys(self) -> list[Key]:
        return list(self._roots)

    @property
    def n_tokens(self) -> int:
        """Tokens of all texts, a common beginning counted once."""
        nodes, n = list(self._roots.values()), 0
        while nodes:
            node = nodes.pop()
            n += node.end - node.start
            nodes.extend(node.children.values())
        return n

    def node(self, end: End) -> Node[End]:
        """Where the text of ``end`` ends."""
        return self._at[end]

    def key(self, end: End) -> Key:
        return self._keys[end]

    def match(self, key: Key, tokens: Tokens) -> Point[End]:
        """How far ``tokens`` begin as a text of ``key`` does: a comparison for each branching."""
        node: Node[End] = self._roots.get(key) or Node()
        length, data = 0, tokens.tobytes()
        while length < len(tokens):
            child = node.children.get(int(tokens[length]))
            if child is None:
                break
            node = child
            if data[_TOKEN_BYTES * length : _TOKEN_BYTES * child.end] != child.data:
                return Point(node, length + common_length(child.run, tokens[length:]))
            length = child.end
        return Point(node, length)

    def add(self, key: Key, tokens: Tokens, end: End) -> None:
        """Enter a text and touch it."""
        root = self._roots.setdefault(key, Node())
        self._keys[end] = key
        self._enter(root, tokens, end)

    def grow(self, end: End, more: Tokens) -> None:
        """The text of ``end`` goes on with ``more``; touches it."""
        node = self._at[end]
        if node.is_leaf and len(node.ends) == 1 and node.parent is not None:
            node.data += more.tobytes()
            node.end += len(more)
            self.touch(end)
            return
        node.ends.remove(end)
        self._enter(node, more, end)
        self._tidy(node)

    def cut(self, end: End, length: int) -> None:
        """The text of ``end`` keeps its first ``length`` tokens."""
        bottom = node = self._at[end]
        while node.parent is not None and node.start >= length:
            node = node.parent
        if node.end > length:
            node = self._split(node, length)
        if node is not bottom:
            bottom.ends.remove(end)
            self._place(end, node)
            self._tidy(bottom)

    def remove(self, end: End) -> None:
        node, key = self._at.pop(end), self._keys.pop(end)
        node.ends.remove(end)
        self._tidy(node)
        root = self._roots[key]
        if not root.ends and not root.children:
            del self._roots[key]

    def touch(self, end: End) -> None:
        """The text of ``end``, and so all that it begins with, is the most recently used."""
        now = next(self._clock)
        node: Node[End] | None = self._at[end]
        while node is not None:
            node.used = now
            node = node.parent

    def check_integrity(self) -> None:
        """Look at every node; an AssertionError is a bug in this class."""
        seen: dict[End, Node[End]] = {}
        for root in self._roots.values():
            assert root.parent is None
            assert root.end == len(root.data) == 0
            assert root.children or root.ends
            nodes = [root]
            while nodes:
                node = nodes.pop()
                seen.update(dict.fromkeys(node.ends, node))
                for first, child in node.children.items():
                    assert child.parent is node
                    assert child.run[0] == first
                    assert child.end == node.end + len(child.run)
                    assert child.children or child.ends, "a leaf without an end"
                    assert child.used <= node.used
                    nodes.append(child)
        assert seen == self._at
        assert self._keys.keys() == self._at.keys()

    def _enter(self, node: Node[End], tokens: Tokens, end: End) -> None:
        while len(tokens):
            first = int(tokens[0])
            child = node.children.get(first)
            if child is None:
                child = node.children[first] = Node(node, tokens.tobytes())
            n = common_length(child.run, tokens)
            node = child if n == len(child.run) else self._split(child, child.start + n)
            tokens = tokens[n:]
        self._place(end, node)
        self.touch(end)

    def _place(self, end: End, node: Node[End]) -> None:
        node.ends.add(end)
        self._at[end] = node

    def _split(self, node: Node[End], length: int) -> Node[End]:
        """Divide the run of ``node`` at token ``length``; returns the new, upper part."""
        parent = node.parent
        assert parent is not None
        assert node.start < length < node.end
        n_bytes = _TOKEN_BYTES * (length - node.start)
        upper: Node[End] = Node(parent, node.data[:n_bytes], node.used)
        parent.children[int(node.run[0])] = upper
        node.parent, node.data = upper, node.data[n_bytes:]
        upper.children[int(node.run[0])] = node
        return upper

    def _tidy(self, node: Node[End]) -> None:
        """Remove ``node``, and what is above it, as far as no text needs it."""
        while not node.ends and not node.children and node.parent is not None:
            del node.parent.children[int(node.run[0])]
            node = node.parent
        if node.parent is None or node.ends or len(node.children) > 1 or len(node.run) >= MIN_RUN:
            return
        (child,) = node.children.values()
        child.parent, child.data = node.parent, node.data + child.data
        node.parent.children[int(child.run[0])] = child
