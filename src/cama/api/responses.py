"""Responses that are kept for a while, so that a later request can go on from one."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from cama.wire.encode import encode
from cama.wire.framing import Reply
from cama.wire.openai.response_items import Item

_MOST = 1000
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``items`` are the whole conversation up to the end of ``reply``."""

    reply: Reply
    items: tuple[Item, ...]
    n_bytes: int


class Responses:
    """In memory, and bounded: the least recently used go first. Each tenant sees only its own."""

    def __init__(self, most: int = _MOST, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._n_bytes = 0

    def keep(self, tenant: str, reply: Reply, before: Sequence[Item]) -> None:
        """``before`` are the items that ``reply`` answers."""
        items = (*before, *reply["output"])
        n_bytes = len(encode(items)) + len(encode(reply))
        self._kept[tenant, reply["id"]] = Kept(reply=reply, items=items, n_bytes=n_bytes)
        self._n_bytes += n_bytes
        while len(self._kept) > self._most or self._n_bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._n_bytes -= oldest.n_bytes

    def get(self, tenant: str, name: str) -> Kept | None:
        if (tenant, name) in self._kept:
            self._kept.move_to_end((tenant, name))
        return self._kept.get((tenant, name))

    def delete(self, tenant: str, name: str) -> bool:
        """Whether it was there."""
        kept = self._kept.pop((tenant, name), None)
        self._n_bytes -= kept.n_bytes if kept else 0
        return kept is not None
