"""The header that names what a request asked for in vain: nothing is dropped silently."""

import re
from collections.abc import Sequence

IGNORED_HEADER = "x-cama-ignored"

_NAME = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,64}")
_MOST_NAMES = 32


def ignored_header(names: Sequence[str]) -> dict[str, str]:
    """The header that tells of ``names``; a name that a header cannot hold is counted."""
    shown = [name for name in names if _NAME.fullmatch(name)][:_MOST_NAMES]
    if n_more := len(names) - len(shown):
        shown.append(f"({n_more} more)")
    return {IGNORED_HEADER: ", ".join(shown)} if shown else {}
