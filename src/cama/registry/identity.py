"""From a registry's challenge to the ``Authorization`` that meets it."""

import base64
import secrets
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cama.core.errors import InvalidModelFile, RegistryDenied, RegistryError
from cama.registry.access import Access
from cama.registry.challenge import Challenge
from cama.registry.logins import Login, find_login
from cama.registry.web import Web
from cama.store.json_text import decode_object

_TOKEN_BYTES = 1 << 20
_EMPTY_BODY = (
    "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="
)
"""Base64 of the hexadecimal SHA-256 of nothing: a part of what is signed."""

DENIED = "unauthorized: access denied"


class Identity:
    """Who asks the registry of ``web``: a login where the user has one, else the user's key.

    A signature is made for the registry itself only. A login goes to the registry, and to the token
    service that it names, over the same protocol.
    """

    def __init__(self, web: Web, access: Access) -> None:
        self._web = web
        self._access = access

    def authorization(self, challenge: Challenge) -> str:
        """The header's value. Raises RegistryDenied, RegistryError, StoreError."""
        login = find_login(self._access.docker_config, self._web.home)
        if challenge.scheme == "basic" and login is not None:
            return login.basic
        if challenge.scheme != "bearer" or not challenge.parameters.get("realm"):
            raise RegistryDenied(DENIED)
        return f"Bearer {self._token(challenge, login)}"

    def _token(self, challenge: Challenge, login: Login | None) -> str:
        realm = challenge.parameters["realm"]
        query = [
            ("service", challenge.parameters.get("service", "")),
            *(("scope", scope) for scope in challenge.parameters.get("scope", "").split()),
        ]
        if login is not None:
            self._check_realm(realm)
            url, authorization = _with_query(realm, query), login.basic
        else:
            url, authorization = self._signed(realm, query)
        with self._web.get(url, {}, {"Authorization": authorization}) as answer:
            if answer.status != 200:
                raise answer.refusal()
            return _read_token(answer.whole(_TOKEN_BYTES, "the token"))

    def _signed(self, realm: str, query: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """The URL of a token, and the signature that it is asked for with."""
        from cama.registry.key import find_key, sign

        host = urlsplit(realm).netloc
        if host.lower() != self._web.home.lower():
            raise RegistryDenied(
                f'realm host "{host}" does not match original host "{self._web.home}"'
            )
        self._check_realm(realm)
        nonce = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        url = _with_query(realm, [*query, ("ts", str(int(time.time()))), ("nonce", nonce)])
        return url, sign(find_key(self._access.keys), f"GET,{url},{_EMPTY_BODY}")

    def _check_realm(self, realm: str) -> None:
        wanted = ("http", "https") if self._web.insecure else ("https",)
        if urlsplit(realm).scheme not in wanted:
            raise RegistryDenied(f"a login is not sent to {realm[:200]}, which is not https")


def _with_query(url: str, query: Sequence[tuple[str, str]]) -> str:
    """``url`` with more in its query, whose keys are then sorted."""
    parts = urlsplit(url)
    pairs = sorted([*parse_qsl(parts.query), *query], key=lambda pair: pair[0])
    return parts._replace(query=urlencode(pairs), fragment="").geturl()


def _read_token(data: bytes) -> str:
    try:
        answer: dict[str, Any] = decode_object(data, "the token")
    except InvalidModelFile as error:
        raise RegistryError(error.message) from None
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RegistryError("the registry's token service answers without a token")
    return token
