import httpx
import psutil
import pytest

from cama.api.app import create_app
from cama.api.hosts import is_local_address, is_local_name, is_loopback, without_port
from cama.core.keys import parse_keys
from cama.core.settings import Address, Settings
from cama.store.store import Store
from tests.api.fakes import FakeScheduler


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:11434", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:11434", 200),
        ("[::1]:11434", 200),
        ("192.168.1.5:11434", 200),
        ("0.0.0.0", 200),
        ("printer.local", 200),
        ("x.localhost:1", 200),
        ("host.docker.internal", 200),
        ("evil.example", 403),
        ("evil.example:11434", 403),
        ("8.8.8.8", 403),
        ("localhost.evil.example", 403),
    ],
)
async def test_host_check_lets_only_local_hosts_through(
    api: httpx.AsyncClient, host: str, status: int
) -> None:
    response = await api.get("/api/version", headers={"Host": host})
    assert response.status_code == status
    if status != 200:
        name = host.partition(":")[0]
        complaint = f"the host {name} is not known: list its origin in CAMA_ORIGINS"
        assert response.json() == {"error": complaint}


@pytest.mark.parametrize(("host", "status"), [("localhost", 204), ("evil.example", 403)])
async def test_host_check_answers_options_on_a_local_name(
    api: httpx.AsyncClient, host: str, status: int
) -> None:
    response = await api.options("/api/chat", headers={"Host": host})
    assert response.status_code == status


def client(settings: Settings, store: Store, scheduler: FakeScheduler) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(settings, store, scheduler))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("8.8.8.8:11434", 200),
        ("[2001:db8::1]:11434", 200),
        ("cama", 200),
        ("cama:11434", 200),
        ("my-machine.local", 200),
        ("evil.example", 403),
        ("8.8.8.8.evil.example:11434", 403),
    ],
)
async def test_host_check_on_an_open_address_refuses_names_that_a_page_can_have(
    store: Store, scheduler: FakeScheduler, host: str, status: int
) -> None:
    settings = Settings(models=store.root, host=Address("0.0.0.0", 11434))
    async with client(settings, store, scheduler) as api:
        # As a page sees itself: its own origin is no foreign one.
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert (await api.get("/api/version", headers=headers)).status_code == status


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
async def test_host_check_lets_the_hosts_of_listed_pages_through(
    store: Store, scheduler: FakeScheduler, address: str
) -> None:
    listed = ("https://chat.example", "https://*.example.org")
    settings = Settings(models=store.root, host=Address(address, 11434), origins=listed)
    async with client(settings, store, scheduler) as api:
        for host, status in (("chat.example", 200), ("a.example.org", 200), ("b.example", 403)):
            response = await api.get("/api/version", headers={"Host": host})
            assert response.status_code == status


async def test_host_check_is_for_those_who_need_no_key(
    store: Store, scheduler: FakeScheduler
) -> None:
    keys = parse_keys("sk-0123456789")
    settings = Settings(models=store.root, host=Address("0.0.0.0", 11434), api_keys=keys)
    async with client(settings, store, scheduler) as api:
        headers = {"Host": "any.example", "Authorization": "Bearer sk-0123456789"}
        assert (await api.get("/api/version", headers=headers)).status_code == 200


async def test_host_check_refuses_two_hosts(api: httpx.AsyncClient) -> None:
    hosts = [("Host", "localhost"), ("Host", "evil.example")]
    response = await api.get("/api/version", headers=hosts)
    assert response.status_code == 400
    assert response.json() == {"error": "there is more than one Host header"}


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)],
)
def test_is_loopback_knows_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1", "a"),
        ("a", "a"),
        ("[::1]:1", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_without_port_leaves_the_host(text: str, expected: str) -> None:
    assert without_port(text) == expected


def test_is_local_name_knows_the_machines_own() -> None:
    assert is_local_name("My-Machine", hostname=lambda: "my-machine")
    assert not is_local_name("other", hostname=lambda: "my-machine")


def test_is_local_address_knows_private_networks() -> None:
    for host in ("10.1.2.3", "172.31.0.1", "192.168.0.1", "fd00::1"):
        assert is_local_address(host)
    for host in ("172.32.0.1", "11.0.0.1", "2001:db8::1", "name"):
        assert not is_local_address(host)


def test_is_local_address_knows_the_interfaces() -> None:
    addresses = [a for found in psutil.net_if_addrs().values() for a in found]
    for address in addresses:
        if address.family.name == "AF_INET":
            assert is_local_address(address.address)
