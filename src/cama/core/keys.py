"""API keys: who may call, and what follows from it. Of a key only its hash is kept."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from cama.core.errors import InvalidOption, InvalidSetting
from cama.core.priority import PRIORITIES, Priority

_KEY = re.compile(r"[!-~]{8,512}")
_NAME = re.compile(r"[\w.@:+-]{1,64}")
_FIELDS = "KEY [NAME [interactive|batch [TENANT]]]"
_MAX_WORDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """``name`` is what the log says; callers of one ``tenant`` share what the prefix cache has."""

    digest: bytes
    name: str
    tenant: str
    priority: Priority = "interactive"


class KeyRing:
    """The keys of a server; false when it has none."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, key: str) -> ApiKey | None:
        """Whose ``key`` it is. How long that takes says nothing about any key."""
        digest = _digest(key)
        found = None
        for one in self._keys:
            if compare_digest(one.digest, digest):
                found = one
        return found


def check_key(text: str) -> str:
    """``text``, if it can be a key. Raises InvalidOption, which does not tell it."""
    if not _KEY.fullmatch(text):
        raise InvalidOption("a key has 8 to 512 visible ASCII characters and no space")
    return text


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Keys separated by commas. Raises InvalidOption."""
    keys = tuple(_key(part.strip()) for part in text.split(",") if part.strip())
    if not keys:
        raise InvalidOption("there is no key in it")
    return keys


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file: one on each line, ``KEY [NAME [interactive|batch [TENANT]]]``.

    Empty lines and those that begin with ``#`` are skipped. Without a name a key is called after
    its hash; without a tenant it is one by itself. Raises InvalidSetting.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise _refusal(path, str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise _refusal(path, "it is not text") from error
    keys = tuple(_lines(path, text))
    if not keys:
        raise _refusal(path, "there is no key in it")
    return keys


def _lines(path: Path, text: str) -> Iterator[ApiKey]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if len(words) > _MAX_WORDS:
                raise InvalidOption(f"must be {_FIELDS}")
            yield _key(*words)
        except InvalidOption as error:
            raise _refusal(path, f"line {number}: {error.message}") from None


def _key(key: str, name: str = "", priority: str = "interactive", tenant: str = "") -> ApiKey:
    if priority not in PRIORITIES:
        raise InvalidOption(f"the priority must be {' or '.join(PRIORITIES)}")
    if not all(_NAME.fullmatch(word) for word in (name, tenant) if word):
        raise InvalidOption("a name has at most 64 letters, digits and . @ : + - _")
    digest = _digest(check_key(key))
    name = name or f"key-{digest.hex()[:8]}"
    return ApiKey(digest=digest, name=name, tenant=tenant or name, priority=priority)


def _digest(key: str) -> bytes:
    return sha256(key.encode(errors="surrogatepass")).digest()


def _refusal(path: Path, reason: str) -> InvalidSetting:
    return InvalidSetting(
        f"CAMA_API_KEY_FILE={path}: {reason.lower()}", variable="CAMA_API_KEY_FILE"
    )
