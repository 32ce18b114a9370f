"""The API's resources as methods: what each one sends, and what its answer must contain."""

from collections.abc import Generator, Iterable, Mapping
from typing import Any

from cama.client.fields import objects, text
from cama.client.transport import Transport, decode
from cama.core.errors import ServerUnavailable

JSON = dict[str, Any]
Events = Generator[JSON, None, None]

_PROBE_SECONDS = 2.0


class Client:
    """A synchronous client of the server at ``base_url``, which is sent the API ``key``, if any.

    Every method raises ServerUnavailable when the server cannot be reached, and the error that the
    server's answer carries, as a type of :mod:`cama.core.errors`.
    """

    def __init__(self, base_url: str, key: str = "") -> None:
        self._transport = Transport(base_url, key)

    @property
    def base_url(self) -> str:
        return self._transport.base_url

    def is_up(self) -> bool:
        """Whether a server answers, with whatever status."""
        try:
            with self._transport.exchange("HEAD", "/", None, _PROBE_SECONDS):
                return True
        except ServerUnavailable:
            return False

    def version(self) -> str:
        """Cama's; that of Ollama, if it is one that answers."""
        answer = self._get("/api/version")
        return text(answer, "cama") or text(answer, "version")

    def tags(self) -> list[JSON]:
        """The models of the store, newest first."""
        return objects(self._get("/api/tags"), "models")

    def ps(self) -> list[JSON]:
        """The models that are loaded."""
        return objects(self._get("/api/ps"), "models")

    def show(self, model: str, *, verbose: bool = False) -> JSON:
        body = {"model": model, "verbose": verbose}
        return decode(self._transport.request("POST", "/api/show", body))

    def plan(self, body: Mapping[str, Any]) -> JSON:
        """What a model would take of the server's memory."""
        return decode(self._transport.request("POST", "/api/plan", body))

    def generate(self, body: Mapping[str, Any]) -> Events:
        """The events of a completion; closing the iterator cancels it."""
        return self._transport.stream("/api/generate", body)

    def chat(self, body: Mapping[str, Any]) -> Events:
        """The events of an answer; closing the iterator cancels it."""
        return self._transport.stream("/api/chat", body)

    def embed(self, body: Mapping[str, Any]) -> JSON:
        """The vectors of texts, under ``embeddings``."""
        return decode(self._transport.request("POST", "/api/embed", body))

    def load(self, model: str, **fields: Any) -> None:
        """Load a model and wait for it; ``keep_alive=0`` unloads it instead."""
        body = {"model": model, "stream": False, **fields}
        self._transport.request("POST", "/api/generate", body)

    def create(self, body: Mapping[str, Any]) -> Events:
        """What happens while a model is created; closing the iterator cancels it."""
        return self._transport.stream("/api/create", body)

    def pull(self, model: str, *, insecure: bool = False) -> Events:
        """The progress of a pull; closing the iterator cancels it."""
        return self._transport.stream("/api/pull", {"model": model, "insecure": insecure})

    def push(self, model: str, *, insecure: bool = False) -> Events:
        """The progress of a push; closing the iterator cancels it."""
        return self._transport.stream("/api/push", {"model": model, "insecure": insecure})

    def has_blob(self, digest: str) -> bool:
        with self._transport.exchange("HEAD", f"/api/blobs/{digest}", None, None) as response:
            return response.status == 200

    def send_blob(self, digest: str, content: Iterable[bytes], n_bytes: int) -> None:
        """Leave ``n_bytes`` of content with the server, under their digest."""
        self._transport.upload(f"/api/blobs/{digest}", content, n_bytes)

    def delete(self, model: str) -> None:
        self._transport.request("DELETE", "/api/delete", {"model": model})

    def copy(self, source: str, destination: str) -> None:
        body = {"source": source, "destination": destination}
        self._transport.request("POST", "/api/copy", body)

    def _get(self, path: str) -> JSON:
        return decode(self._transport.request("GET", path))
