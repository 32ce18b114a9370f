"""A small real HTTP server that gives prepared answers and remembers what it was asked."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """``lines`` are sent one chunk each; ``is_cut`` breaks the connection after them.

    ``is_endless`` repeats the last line until the client leaves.
    """

    lines: Sequence[bytes]
    status: int = 200
    is_cut: bool = False
    is_endless: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class TinyServer:
    """``answers`` by path; a path without one is answered as an unknown path is."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    was_asked: threading.Event = field(default_factory=threading.Event)
    was_left: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"tiny": self})
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
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, *objects: Any, status: int = 200) -> None:
        """Answer ``path`` with these objects, one a line."""
        lines = [json.dumps(item).encode() + b"\n" for item in objects]
        self.answers[path] = Answer(lines, status)

    def bodies(self, path: str) -> list[Any]:
        """What was sent to ``path``."""
        return [request.body for request in self.requests if request.path == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tiny: TinyServer

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._send(Answer([]))

    def do_GET(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(data) if data else None
        self.tiny.requests.append(Request(self.command, self.path, dict(self.headers), body))
        self.tiny.was_asked.set()
        self._send(self.tiny.answers.get(self.path, Answer([b"404 page not found"], 404)))

    do_POST = do_DELETE = do_GET

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        for line in answer.lines:
            self._chunk(line)
        if answer.is_endless:
            self._go_on(answer.lines[-1])
        self.close_connection = answer.is_cut
        if not answer.is_cut:
            self.wfile.write(b"0\r\n\r\n")

    def _go_on(self, line: bytes) -> None:
        pause = threading.Event()
        try:
            for _ in range(3000):
                self._chunk(line)
                pause.wait(0.01)
        except OSError:
            self.tiny.was_left.set()
            raise

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
