"""Logins of registries as ``docker login`` (or podman, or oras) keeps them in ``config.json``."""

import base64
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cama.core.errors import InvalidModelFile, RegistryDenied
from cama.store.files import read_bounded, storing
from cama.store.json_text import decode_object

_CONFIG_BYTES = 1 << 20
_HELPER_SECONDS = 30
_HELPER_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of ``Authorization``."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_login(folder: Path, host: str) -> Login | None:
    """The login for ``host`` (with its port, if it has one), or None.

    Raises RegistryDenied for one that cannot be used, InvalidModelFile and StoreError.
    """
    path = folder / "config.json"
    with storing(path):
        if not path.exists():
            return None
        config = decode_object(read_bounded(path, _CONFIG_BYTES), str(path))
    helper = _object(config, "credHelpers").get(host) or config.get("credsStore")
    entry = next(
        (one for key, one in _object(config, "auths").items() if _host(key) == host.lower()), None
    )
    if isinstance(entry, dict) and entry.get("auth"):
        return _decoded(entry["auth"], path)
    return _ask(helper, host) if isinstance(helper, str) and helper else None


def _object(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _host(key: str) -> str:
    """``https://host/v1/`` is an old way to write ``host``."""
    return key.partition("://")[2].partition("/")[0].lower() or key.partition("/")[0].lower()


def _decoded(auth: Any, path: Path) -> Login:
    try:
        user, has_password, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (ValueError, TypeError):
        has_password = ""
    if not has_password:
        raise InvalidModelFile(
            f"{path} has a login that cannot be read", path=str(path), field="auths"
        )
    return Login(user, password.rstrip("\0"))


def _ask(helper: str, host: str) -> Login | None:
    """The login that the program ``docker-credential-<helper>`` knows."""
    if not _HELPER_NAME.fullmatch(helper):
        raise RegistryDenied(f"not a name of a credential helper: {helper[:50]!r}")
    command = [f"docker-credential-{helper}", "get"]
    try:
        result = subprocess.run(
            command,
            input=host,
            capture_output=True,
            text=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
        found: Any = json.loads(result.stdout) if result.returncode == 0 else None
    except (OSError, subprocess.SubprocessError, ValueError, RecursionError) as error:
        raise RegistryDenied(f"{command[0]} failed: {error}") from None
    match found:
        case {"Username": str(user), "Secret": str(secret)}:
            return Login(user, secret)
    return None
