"""A hub of the tests' own: it speaks the part of the hub's protocol that downloads need.

Lists at ``/api/models/USER/REPO``, contents at ``/USER/REPO/resolve/COMMIT/PATH``, which redirects
large files to ``/cdn/DIGEST`` with ``X-Linked-ETag`` and ``X-Linked-Size`` as the hub does.
"""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

COMMIT = "c0ffee" * 6 + "c0de"
TOKEN = "hf_right"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_SMALL = 1000
"""Files below have no digest in the list, as those that Git itself keeps."""


@dataclass(slots=True)
class HubServer:
    """``repositories`` are files by path, by name; ``gated`` ones want a token.

    ``cut_after`` breaks each answer off after so many bytes; ``requests`` are methods and paths.
    ``listed`` are more entries of each list, which may be lies; the content of ``damaged`` digests
    comes out wrong.
    """

    repositories: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    gated: dict[str, str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    listed: list[dict[str, Any]] = field(default_factory=list)
    cut_after: int | None = None
    status: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    cdn_tokens: list[str] = field(default_factory=list)
    _server: ThreadingHTTPServer = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def blobs(self) -> dict[str, bytes]:
        files = (data for files in self.repositories.values() for data in files.values())
        return {hashlib.sha256(data).hexdigest(): data for data in files}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has left
            super().handle()

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path))
        if self.hub.status:
            self._send(self.hub.status, b'{"error": "the hub rests"}')
        elif path.startswith("/cdn/"):
            self.hub.cdn_tokens.append(self.headers.get("Authorization", ""))
            self._blob(path.removeprefix("/cdn/"))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            if self._allows(found[1]):
                self._list(found[1])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[0-9a-f]+/(.+)", path):
            if self._allows(found[1]):
                self._resolve(found[1], found[2])
        else:
            self._send(404, b"")

    def _allows(self, name: str) -> bool:
        is_known = name in self.hub.repositories
        if not is_known:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif self.hub.gated.get(name, "") not in self.headers.get("Authorization", ""):
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        else:
            return True
        return False

    def _list(self, name: str) -> None:
        siblings: list[dict[str, Any]] = []
        for path, data in self.hub.repositories[name].items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": "0" * 40}
            if len(data) >= _SMALL:
                digest = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        siblings += self.hub.listed
        about = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}
        self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def _resolve(self, name: str, path: str) -> None:
        data = self.hub.repositories[name].get(path)
        if data is None:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        digest = hashlib.sha256(data).hexdigest()
        if len(data) < _SMALL:
            self._blob(digest, {"X-Repo-Commit": COMMIT, "ETag": f'"{"0" * 40}"'})
            return
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-ETag": f'"{digest}"',
            "X-Linked-Size": str(len(data)),
            # By another name of this machine: to clients it is another host.
            "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/cdn/{digest}",
        }
        self._send(302, b"", headers)

    def _blob(self, digest: str, headers: Mapping[str, str] | None = None) -> None:
        data = self.hub.blobs[digest]
        if digest in self.hub.damaged:
            data = bytes(reversed(data))
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is None:
            self._send(200, data, headers)
            return
        self.hub.ranges.append(wanted[0])
        start = int(wanted[1])
        stop = min(int(wanted[2] or len(data) - 1) + 1, len(data))
        about = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        self._send(206, data[start:stop], about | dict(headers or {}))

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub.cut_after if self.path.startswith("/cdn/") else None
        self.wfile.write(body[:cut])
        if cut is not None and cut < len(body):
            self.wfile.flush()
            self.close_connection = True
