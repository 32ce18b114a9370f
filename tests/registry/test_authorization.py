"""Tokens: of Docker's kind for a login, and of Ollama's for a key."""

import base64
import datetime
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_ssh_public_key,
)

from cama.core.errors import RegistryDenied
from cama.registry.access import Access
from cama.registry.push import push
from cama.store.names import ModelName
from cama.store.store import Store
from tests.registry.certificates import make_certificate
from tests.registry.conftest import add_model, check_same, pulled, refusal
from tests.registry.proxy import Fault, FaultProxy
from tests.registry.servers import needs_registry, running_registry
from tests.registry.test_real_registry import login, no_report

pytestmark = [pytest.mark.e2e, needs_registry]

EMPTY = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class TokenServer(ThreadingHTTPServer):
    """Gives docker-registry's tokens to ``user`` with the password ``secret``."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _TokenHandler)
        self.certificate, path = make_certificate(folder)
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.key = key
        self.scopes: list[str] = []
        self.lifetime = 60

    def token(self, scopes: list[str]) -> str:
        body = self.certificate.read_text().split("-----")[2]
        header = {"typ": "JWT", "alg": "ES256", "x5c": ["".join(body.split())]}
        now = int(time.time())
        granted = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (scope.rsplit(":", 2) for scope in scopes)
        ]
        claims = {
            "iss": "issuer", "sub": "user", "aud": "service", "exp": now + self.lifetime,
            "nbf": now - 10, "iat": now, "jti": str(now), "access": granted,
        }  # fmt: skip
        text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _TokenHandler(BaseHTTPRequestHandler):
    server: TokenServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        user = "Basic " + base64.b64encode(b"user:secret").decode()
        is_known = self.headers.get("Authorization") == user
        self.server.scopes += query.get("scope", [])
        reply: dict[str, Any] = {"token": self.server.token(query.get("scope", []))}
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(json.dumps(reply if is_known else {"errors": "unknown"}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with TokenServer(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_token_service_of_the_registry_lets_in_who_has_a_login(
    tmp_path: Path, tokens: TokenServer, source: Store, target: Store, access: Access
) -> None:
    realm = f"http://127.0.0.1:{tokens.server_address[1]}/token"
    more = (
        f"auth:\n  token:\n    realm: {realm}\n    service: service\n    issuer: issuer\n"
        f"    rootcertbundle: {tokens.certificate}\n"
    )
    with running_registry(tmp_path, more) as registry:
        name = add_model(source, f"{registry.host}/test/m")
        assert "does not match original host" in refusal(name, target, access).message
        login(access, registry.host, "user", "wrong")
        assert (
            refusal(name, target, access).message
            == 'pull model manifest: 401: {"errors": "unknown"}'
        )
        login(access, registry.host, "user", "secret")
        push(name, source, access, no_report)
        pulled(name, target, access)
    check_same(name, source, target)
    assert {scope.count(",") for scope in tokens.scopes} == {0, 1}  # to pull, to pull and push


def test_key_signs_for_the_token_of_its_own_registry(
    proxy: FaultProxy, pushed: ModelName, source: Store, target: Store, access: Access
) -> None:
    """The signature is checked as the registry would, with the public key that comes with it."""
    challenge = f'Bearer realm="http://{proxy.host}/token",service="{proxy.host}",scope="a b"'
    proxy.faults = [
        Fault("status", where="/manifests/", status=401, headers={"WWW-Authenticate": challenge}),
        Fault("status", where="/token?", status=200, body=b'{"token":"given"}'),
    ]
    pulled(pushed, target, access)
    check_same(pushed, source, target)
    first, asked, again, *_ = proxy.asked
    assert (first.authorization, again.authorization) == ("", "Bearer given")
    url = f"http://{proxy.host}{asked.path}"
    query = parse_qs(urlsplit(url).query)
    assert list(query) == sorted(query) == ["nonce", "scope", "service", "ts"]
    assert query["scope"] == ["a", "b"]
    assert abs(int(query["ts"][0]) - datetime.datetime.now(datetime.UTC).timestamp()) < 60
    assert len(query["nonce"][0]) == 22
    public, signature = asked.authorization.split(":")
    key: Any = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
    key.verify(base64.b64decode(signature), f"GET,{url},{EMPTY}".encode())
    path = access.keys[-1]
    assert path.with_name("id_ed25519.pub").read_text() == f"ssh-ed25519 {public}\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_login_is_sent_over_tls_only(
    proxy: FaultProxy, pushed: ModelName, target: Store, access: Access
) -> None:
    login(access, proxy.host, "user", "secret")
    challenge = 'Bearer realm="ftp://127.0.0.1/token",service="s"'
    proxy.faults = [
        Fault("status", where="/manifests/", status=401, headers={"WWW-Authenticate": challenge})
    ]
    error = refusal(pushed, target, access)
    assert isinstance(error, RegistryDenied)
    assert "a login is not sent to ftp://127.0.0.1/token, which is not https" in error.message
