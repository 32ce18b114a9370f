"""How reading or running a template fails, before it is known which line to blame."""

from cama.core.errors import InvalidTemplate

SHOWN = 100


class Failure(Exception):
    """What is wrong, in words. The reader and the evaluator add the line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def broken(line: int, reason: str) -> InvalidTemplate:
    """The error of a template that cannot be read."""
    return InvalidTemplate(f"template error: line {line}: {reason}", line=line)


def shown(text: str) -> str:
    """``text`` in quotes, short enough for a message of one line."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
