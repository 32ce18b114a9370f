"""API keys: how they are written, and that nobody gets to see them."""

from pathlib import Path

import pytest

from cama.core.errors import InvalidOption, InvalidSetting
from cama.core.keys import KeyRing, parse_keys, read_keys
from cama.core.settings import Settings

KEY, OTHER = "sk-0123456789", "sk-9876543210"


def write(folder: Path, text: str) -> Path:
    path = folder / "keys"
    path.write_text(text)
    return path


def test_a_ring_knows_its_keys_and_no_others() -> None:
    ring = KeyRing(parse_keys(f"{KEY}, {OTHER}"))
    found = ring.find(OTHER)
    assert ring
    assert found is not None
    assert found.name.startswith("key-")
    assert found != ring.find(KEY)
    for wrong in ("", KEY[:-1], KEY + "0", KEY.upper(), "ü" * 9, "\ud800" * 9):
        assert ring.find(wrong) is None


def test_a_ring_without_keys_is_false() -> None:
    assert not KeyRing(())


def test_keys_have_a_tenant_each_unless_a_file_says_otherwise(tmp_path: Path) -> None:
    first, second = parse_keys(f"{KEY},{OTHER}")
    assert first.tenant != second.tenant
    text = f"# the team\n{KEY} ann batch team\n\n  {OTHER} bob interactive team\n12345678 carol\n"
    ann, bob, carol = read_keys(write(tmp_path, text))
    assert (ann.name, ann.priority, ann.tenant) == ("ann", "batch", "team")
    assert (bob.name, bob.priority, bob.tenant) == ("bob", "interactive", "team")
    assert (carol.name, carol.priority, carol.tenant) == ("carol", "interactive", "carol")


def test_a_key_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    path = write(tmp_path, f"{OTHER} bob")
    settings = Settings.load({"CAMA_API_KEYS": KEY, "CAMA_API_KEY": KEY})
    assert KEY not in repr(settings)
    assert KEY not in repr(settings.api_keys)
    assert OTHER not in repr(read_keys(path))


@pytest.mark.parametrize("text", ["short", f"{KEY},two words", "sk-ümlaut-key", ","])
def test_what_is_no_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InvalidOption):
        parse_keys(text)
    with pytest.raises(InvalidSetting) as caught:
        Settings.load({"CAMA_API_KEYS": text})
    assert caught.value.message.startswith("CAMA_API_KEYS: ")
    assert text not in caught.value.message.removeprefix("CAMA_API_KEYS: ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "there is no key in it"),
        ("# nothing\n\n", "there is no key in it"),
        (f"{KEY} ann\nshort bob", "line 2: a key has 8 to 512 visible"),
        (f"{KEY} ann urgent", "line 1: the priority must be interactive or batch"),
        (f"{KEY} ann batch team more", "line 1: must be key [name"),
        (f"{KEY} a/b", "line 1: a name has at most 64"),
    ],
)
def test_a_bad_file_of_keys_names_the_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidSetting) as caught:
        read_keys(path)
    assert f"CAMA_API_KEY_FILE={path}: {complaint}" in caught.value.message
    assert KEY not in caught.value.message


def test_a_file_of_keys_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="nowhere: no such file"):
        read_keys(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidSetting, match="it is not text"):
        read_keys(tmp_path / "binary")
