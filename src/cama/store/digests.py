"""SHA-256 digests as the store writes them: ``sha256:<hex>`` in JSON, ``sha256-<hex>`` as names."""

import hashlib
import re
from pathlib import Path

from cama.core.errors import InvalidRequest

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def find_digest(text: str) -> str | None:
    """``text`` in the form ``sha256:<lower-case hex>``, or None when it is no digest."""
    found = _DIGEST.fullmatch(text)
    return f"sha256:{found[1].lower()}" if found else None


def parse_digest(text: str) -> str:
    """As :func:`find_digest`; raises InvalidRequest."""
    digest = find_digest(text)
    if digest is None:
        raise InvalidRequest("invalid digest format", digest=text[:100])
    return digest


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_of_file(path: Path) -> str:
    """Digest of a whole file, read in pieces."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def blob_name(digest: str) -> str:
    return digest.replace(":", "-")
