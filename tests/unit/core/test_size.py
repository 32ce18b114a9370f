"""Sizes as people write them, and the setting that takes one."""

from pathlib import Path

import pytest

from cama.core.errors import InvalidOption, InvalidSetting
from cama.core.load import PrefixFolder
from cama.core.settings import Settings
from cama.core.size import parse_size


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("8GB", 8_000_000_000),
        ("8 gb", 8_000_000_000),
        ("8GiB", 8 << 30),
        ("512M", 512_000_000),
        ("1.5 KiB", 1536),
        (".5t", 500_000_000_000),
        ("7b", 7),
    ],
)
def test_sizes_are_read(text: str, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "8XB", "1e9", "8iB", "8 GB free", "٨GB", "9" * 999]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="8GB"):
        parse_size(text)


def test_prefix_cache_has_a_folder_in_the_home() -> None:
    settings = Settings.load({"CAMA_HOME": "/somewhere", "CAMA_PREFIX_CACHE": "2GB"})
    assert settings.prefix_folder == PrefixFolder(
        path=Path("/somewhere/cache/prefix"), max_bytes=2_000_000_000
    )
    assert Settings().prefix_cache == 4 << 30


def test_prefix_cache_can_be_switched_off() -> None:
    assert Settings.load({"CAMA_PREFIX_CACHE": "0"}).prefix_folder is None


def test_prefix_cache_that_is_no_size_names_the_variable() -> None:
    with pytest.raises(InvalidSetting, match="CAMA_PREFIX_CACHE=much"):
        Settings.load({"CAMA_PREFIX_CACHE": "much"})
