"""Plain tables: left-aligned columns, four spaces apart, no borders."""

from collections.abc import Sequence

_GAP = 4


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The header, which stands even over no rows, and the rows; ends with a line break."""
    return columns([header, *rows])


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Rows of equally many cells as aligned lines, each ended by a line break."""
    widths = [max(map(len, column)) + _GAP for column in zip(*rows, strict=True)]
    return "".join(f"{indent}{_line(row, widths)}\n" for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
