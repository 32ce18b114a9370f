"""One repository of a registry: requests to it, with whatever authorization it asks for."""

import threading
from collections.abc import Mapping

from cama.core.errors import RegistryDenied, RegistryError, RegistryUnreachable
from cama.registry.challenge import parse_challenge
from cama.registry.identity import DENIED, Identity
from cama.registry.web import Answer, Rewindable, Web, is_same_origin
from cama.store.manifest import MANIFEST_LIMIT, MANIFEST_TYPE
from cama.store.names import ModelName

_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of what may go better the next time."""


class Repository:
    """``<namespace>/<model>`` of a registry. Threads may use it at the same time.

    Methods raise RegistryUnreachable for what may pass, RegistryDenied when no authorization is
    enough, RegistryError for other refusals.
    """

    def __init__(self, name: ModelName, web: Web, identity: Identity) -> None:
        self.name = name
        self.web = web
        self.base = f"{web.base}/v2/{name.namespace}/{name.model}"
        self._identity = identity
        self._authorization = ""
        self._lock = threading.Lock()

    @property
    def secrets(self) -> Mapping[str, str]:
        """Headers that are for the registry alone."""
        return {"Authorization": self._authorization} if self._authorization else {}

    def manifest(self) -> bytes:
        """The manifest of the name's tag, as it is."""
        url = f"{self.base}/manifests/{self.name.tag}"
        with self.ask("GET", url, {"Accept": MANIFEST_TYPE}) as answer:
            check(answer)
            return answer.whole(MANIFEST_LIMIT, "the manifest")

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """A request without a body; redirects are followed."""
        if not is_same_origin(url, self.base):
            return self.web.follow(method, url, headers, {})
        secrets = self.secrets
        answer = self.web.follow(method, url, headers, secrets)
        if self._is_denied(answer, secrets):
            answer = self.web.follow(method, url, headers, self.secrets)
        return _let_in(answer)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Rewindable = b""
    ) -> Answer:
        """A request with a body, which is sent from its beginning again when need be.

        An upload may go on at another host, which gets no authorization.
        """
        if not is_same_origin(url, self.base):
            return self.web.send(method, url, headers, body)
        secrets = self.secrets
        answer = self.web.send(method, url, {**headers, **secrets}, body)
        if self._is_denied(answer, secrets):
            answer = self.web.send(method, url, {**headers, **self.secrets}, body)
        return _let_in(answer)

    def _is_denied(self, answer: Answer, sent: Mapping[str, str]) -> bool:
        """Whether another authorization is needed; then it is there."""
        if answer.status != 401:
            return False
        challenge = parse_challenge(answer.headers.get("www-authenticate", ""))
        answer.close()
        with self._lock:
            if self.secrets == sent:  # else another thread has got one meanwhile
                self._authorization = self._identity.authorization(challenge)
        return True


def check(answer: Answer, *wanted: int) -> None:
    """Raise what an answer means that is no success (or none of ``wanted``)."""
    if answer.status in wanted if wanted else answer.status < 300:
        return
    if answer.status == 404:
        raise RegistryError("file does not exist", status=404)
    error = answer.refusal()
    if answer.status in _PASSING:
        raise RegistryUnreachable(error.message, status=answer.status, retry_after=_pause(answer))
    raise error


def _let_in(answer: Answer) -> Answer:
    if answer.status == 401:
        answer.close()
        raise RegistryDenied(DENIED, status=401)
    return answer


def _pause(answer: Answer) -> float:
    """Seconds that the registry asks us to wait; 0 when it says nothing that is a number."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 6 else 0.0
