"""Lines of the interactive mode, joined where ``\"\"\"`` opens a block."""

from dataclasses import dataclass

_QUOTES = '"""'
_SYSTEM = "/set system "


@dataclass(frozen=True, slots=True)
class Entry:
    """What was entered; the text of a block is a message even when it looks like a command."""

    text: str
    is_block: bool = False


class Lines:
    """Collects lines until they make an entry."""

    def __init__(self) -> None:
        self._prefix = ""
        self._block: list[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a block wants more lines."""
        return self._block is not None

    def feed(self, line: str) -> Entry | None:
        """The entry that ``line`` completes, if it does."""
        if self._block is None:
            prefix = _SYSTEM if line.startswith(_SYSTEM) else ""
            if not line.startswith(_QUOTES, len(prefix)):
                return Entry(line)
            self._prefix, self._block = prefix, []
            line = line[len(prefix) + len(_QUOTES) :]
        self._block.append(line.removesuffix(_QUOTES))
        return self._close() if line.endswith(_QUOTES) else None

    def discard(self) -> None:
        """Forget an open block."""
        self._block = None

    def _close(self) -> Entry:
        text = self._prefix + "\n".join(self._block or ())
        is_block = not self._prefix
        self.discard()
        return Entry(text, is_block)
