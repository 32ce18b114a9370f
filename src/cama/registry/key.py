"""The user's Ed25519 key, by which a registry of Ollama's knows who asks."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from cama.core.errors import RegistryDenied
from cama.store.files import read_bounded, storing

_KEY_BYTES = 64 << 10


def find_key(places: Sequence[Path]) -> Ed25519PrivateKey:
    """The first key that exists; a new one at the last place when there is none.

    Raises RegistryDenied for a key of another kind, and StoreError.
    """
    for path in places:
        if path.exists():
            return _read(path)
    return _create(places[-1])


def sign(key: Ed25519PrivateKey, text: str) -> str:
    """``<public key>:<signature>``, as the registry wants it in ``Authorization``."""
    signature = base64.b64encode(key.sign(text.encode())).decode()
    return f"{public_text(key).split()[1]}:{signature}"


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half in OpenSSH's form: ``ssh-ed25519 AAAA…``."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _read(path: Path) -> Ed25519PrivateKey:
    with storing(path):
        data = read_bounded(path, _KEY_BYTES)
    try:
        key = load_ssh_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RegistryDenied(
            f"{path} is no key that can be read: {error}", path=str(path)
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise RegistryDenied(f"{path} is not an Ed25519 key", path=str(path))
    return key


def _create(path: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Linked into place complete: of two processes that make one, both get the same.
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(private)
            try:
                os.link(new, path)
            except FileExistsError:
                return _read(path)
        finally:
            new.unlink(missing_ok=True)
        path.with_name(f"{path.name}.pub").write_text(f"{public_text(key)}\n")
    return key
