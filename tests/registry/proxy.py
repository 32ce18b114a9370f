"""A proxy before a registry that spoils answers on demand, and counts what it was asked for."""

import re
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_DIGEST = re.compile(r"/blobs/(sha256:[0-9a-f]{64})$")
_CHUNK = 16 << 10
_HOP = {"connection", "transfer-encoding", "keep-alive"}


@dataclass(slots=True)
class Fault:
    """Spoils the next ``times`` answers whose path contains ``where``, of any ``method`` or one.

    ``cut`` breaks off after ``after`` bytes, ``short`` says fewer bytes than asked for, ``long``
    announces more than come, ``corrupt`` flips a bit, ``stall`` sends no more after ``after``
    bytes, ``whole`` ignores the range, ``status`` answers with that and ``body``, ``redirect``
    leads to ``location``, where ``{path}`` is that of the request, ``gzip`` claims an encoding, and
    ``half`` brings half of a request's body and breaks off.
    """

    kind: str
    times: int = 1
    where: str = "/blobs/"
    method: str = ""
    after: int = 0
    status: int = 0
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    host: str
    authorization: str
    n_bytes: int


@dataclass(slots=True)
class FaultProxy:
    """Forwards to ``upstream`` (a port of this machine); ``pause`` seconds lie between pieces."""

    upstream: int
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    pause: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _server: "_Server" = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def bytes_asked(self) -> Counter[str]:
        """How many bytes of each blob were asked for with GET."""
        counts: Counter[str] = Counter()
        for asked in self.asked:
            if asked.method == "GET" and (found := _DIGEST.search(asked.path)):
                counts[found[1]] += asked.n_bytes
        return counts

    def settle(self) -> None:
        """Return when all that clients had asked for before they went is in ``asked``."""
        connection = HTTPConnection(self.host, timeout=30)
        connection.request("HEAD", "/v2/")  # comes behind whatever was not accepted yet
        connection.getresponse()
        connection.close()
        while self._server.n_open:
            time.sleep(0.005)

    def take(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.where in path and fault.method in ("", method):
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._lock = threading.Lock()
        self.n_open = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self.n_open += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._lock:
            self.n_open -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        n_bytes = int(found[2]) - int(found[1]) + 1 if found else 0
        host, authorization = self.headers["Host"], self.headers.get("Authorization", "")
        self.proxy.asked.append(Asked(self.command, self.path, host, authorization, n_bytes))
        fault = self.proxy.take(self.command, self.path)
        if fault is not None and fault.kind in ("status", "redirect"):
            self._answer_by(fault)
        else:
            self._forward(fault)

    do_HEAD = do_POST = do_PATCH = do_PUT = do_GET

    def _answer_by(self, fault: Fault) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(fault.status or 307)
        if fault.location:
            self.send_header("Location", fault.location.format(path=self.path))
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(fault.body)))
        self.end_headers()
        self.wfile.write(fault.body)

    def _forward(self, fault: Fault | None) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
        if fault is not None and fault.kind == "whole":
            headers.pop("Range", None)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault is not None and fault.kind == "half":
            body = body[: len(body) // 2]
            headers["Content-Length"] = str(len(body))
        upstream = HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, body or None, headers)
            self._relay(upstream.getresponse(), fault)
        finally:
            upstream.close()

    def _relay(self, answer: HTTPResponse, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        if kind == "half":
            answer.read()
            self._break(stalls=False)
            return
        length = int(answer.headers.get("Content-Length", 0))
        if kind == "short":
            length //= 2
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in (*_HOP, "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length + (1000 if kind == "long" else 0)))
        if kind == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = 0
        while sent < length and (data := answer.read(min(_CHUNK, length - sent))):
            if fault and kind in ("cut", "stall") and sent + len(data) > fault.after:
                self.wfile.write(data[: max(fault.after - sent, 0)])
                self._break(stalls=kind == "stall")
                return
            if kind == "corrupt" and sent == 0:
                data = bytes([data[0] ^ 1]) + data[1:]
            self.wfile.write(data)
            sent += len(data)
            if self.proxy.pause:
                time.sleep(self.proxy.pause)
        if kind == "long":
            self._break(stalls=False)

    def _break(self, *, stalls: bool) -> None:
        self.wfile.flush()
        if stalls:
            self.proxy.released.wait(30)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
