"""Keys, logins and challenges, as files and headers have them."""

import base64
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cama.core.errors import CamaError, InvalidModelFile, Offline, RegistryDenied
from cama.core.settings import Settings
from cama.registry.access import Access
from cama.registry.addresses import is_public
from cama.registry.challenge import Challenge, parse_challenge
from cama.registry.key import find_key, public_text
from cama.registry.logins import Login, find_login
from cama.registry.patience import Patience


@pytest.mark.parametrize(
    ("text", "challenge"),
    [
        (
            'Bearer realm="https://a/b?c=d",service="s, t",scope="x:y:pull z"',
            Challenge(
                "bearer",
                {"realm": "https://a/b?c=d", "service": "s, t", "scope": "x:y:pull z"},
            ),
        ),
        ("Basic realm=plain , charset=UTF-8", Challenge("basic", {"realm": "plain",
                                                                   "charset": "UTF-8"})),
        (r'BASIC realm="a\"b\\"', Challenge("basic", {"realm": 'a"b\\'})),
        ("Negotiate", Challenge("negotiate")),
        ("", Challenge("")),
        ("Bearer realm=", Challenge("bearer")),
        ('Bearer realm="open', Challenge("bearer")),
        ('Bearer realm="a",realm="b"', Challenge("bearer", {"realm": "a"})),
    ],
)  # fmt: skip
def test_challenge_is_read(text: str, challenge: Challenge) -> None:
    assert parse_challenge(text) == challenge


def test_challenge_without_end_takes_no_time() -> None:
    assert parse_challenge("Bearer " + 'a="' + "\\" * 10**6).parameters == {}
    assert parse_challenge(" " * 10**6).scheme == ""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True), ("2606:4700::1", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False),
        ("0.0.0.0", False), ("100.64.0.1", False), ("224.0.0.1", False), ("::1", False),
        ("fe80::1%eth0", False), ("fc00::1", False), ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
        ("64:ff9b::808:808", True), ("255.255.255.255", False),
    ],
)  # fmt: skip
def test_address_is_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected


def write_config(folder: Path, content: object) -> None:
    (folder / "config.json").write_text(json.dumps(content))


AUTH = base64.b64encode(b"me:pass:word").decode()


@pytest.mark.parametrize(
    ("key", "host", "is_found"),
    [
        ("r.example:5000", "r.example:5000", True),
        ("https://R.example/v1/", "r.example", True),
        ("r.example/v2/", "r.example", True),
        ("r.example", "r.example:5000", False),
        ("r.example.org", "r.example", False),
    ],
)
def test_login_is_found_by_host(tmp_path: Path, key: str, host: str, is_found: bool) -> None:
    write_config(tmp_path, {"auths": {"other": {}, key: {"auth": AUTH}}})
    assert find_login(tmp_path, host) == (Login("me", "pass:word") if is_found else None)


def test_login_is_not_shown() -> None:
    assert "word" not in repr(Login("me", "word"))


@pytest.mark.parametrize("content", [{}, {"auths": []}, {"auths": {"r": 7}}, {"credHelpers": 7}])
def test_config_without_logins_has_none(tmp_path: Path, content: object) -> None:
    assert find_login(tmp_path / "none", "r") is None
    write_config(tmp_path, content)
    assert find_login(tmp_path, "r") is None


@pytest.mark.parametrize("auth", ["", "%", "bm9jb2xvbg==", 7, "/w=="])
def test_login_that_cannot_be_read_is_told_of(tmp_path: Path, auth: object) -> None:
    write_config(tmp_path, {"auths": {"r": {"auth": auth}}})
    if auth:
        with pytest.raises(InvalidModelFile, match="a login that cannot be read"):
            find_login(tmp_path, "r")
    else:
        assert find_login(tmp_path, "r") is None


def test_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker-credential-test"
    answer = '{"Username":"me","Secret":"\'$(cat)\'"}'
    program.write_text(f"#!/bin/sh\n[ $1 = get ] && echo '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    write_config(tmp_path, {"credHelpers": {"r.example": "test"}})
    assert find_login(tmp_path, "r.example") == Login("me", "r.example")
    assert find_login(tmp_path, "other") is None


@pytest.mark.parametrize("helper", ["../x", "a b", "none-such"])
def test_credential_helper_that_fails_is_told_of(tmp_path: Path, helper: str) -> None:
    write_config(tmp_path, {"credsStore": helper})
    with pytest.raises(RegistryDenied, match=r"helper|failed"):
        find_login(tmp_path, "r")


def test_key_is_made_once(tmp_path: Path) -> None:
    places = (tmp_path / "none", tmp_path / "home" / "id_ed25519")
    made = public_text(find_key(places))
    assert public_text(find_key(places)) == made
    assert sorted(path.name for path in places[1].parent.iterdir()) == [
        "id_ed25519", "id_ed25519.pub",
    ]  # fmt: skip


def test_key_of_ollama_goes_first(tmp_path: Path) -> None:
    theirs = public_text(find_key((tmp_path / "theirs",)))
    assert public_text(find_key((tmp_path / "theirs", tmp_path / "ours"))) == theirs
    assert not (tmp_path / "ours").exists()


def test_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = rsa.generate_private_key(65537, 2048)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    with pytest.raises(RegistryDenied, match="is not an Ed25519 key"):
        find_key((path,))
    path.write_text("no key")
    with pytest.raises(RegistryDenied, match="is no key that can be read"):
        find_key((path,))
    path.unlink()
    path.mkdir()
    with pytest.raises(CamaError):
        find_key((path,))


def test_access_may_be_denied_altogether() -> None:
    access = Access.of(Settings(offline=True), insecure=False, patience=Patience())
    with pytest.raises(Offline, match="CAMA_OFFLINE"):
        access.check()
