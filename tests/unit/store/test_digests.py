"""Digests."""

from pathlib import Path

import pytest

from cama.core.errors import InvalidRequest
from cama.store.digests import blob_name, digest_of, digest_of_file, find_digest, parse_digest

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}", f"sha256:{HEX.upper()}"])
def test_digest_forms_mean_the_same(text: str) -> None:
    assert parse_digest(text) == f"sha256:{HEX}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}0",
        f"sha512:{HEX}",
        f"sha256:{HEX}\n",
        "sha256:../x",
    ],
)
def test_digest_refuses_other_text(text: str) -> None:
    assert find_digest(text) is None
    with pytest.raises(InvalidRequest, match="invalid digest format"):
        parse_digest(text)


def test_digest_of_file_equals_digest_of_its_content(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"content")
    assert digest_of_file(path) == digest_of(b"content")


def test_blob_name_replaces_the_colon() -> None:
    assert blob_name(f"sha256:{HEX}") == f"sha256-{HEX}"
