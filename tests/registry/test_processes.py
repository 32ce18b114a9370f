"""Pulls by processes: killed at any moment, and two at the same time."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cama.registry.access import Access
from cama.registry.push import push
from cama.store.names import ModelName
from cama.store.partials import completed
from cama.store.store import Store
from tests.registry.conftest import add_model, check_same, check_sound
from tests.registry.proxy import FaultProxy
from tests.registry.servers import RealRegistry, needs_registry

pytestmark = [pytest.mark.e2e, needs_registry]

PULLER = Path(__file__).with_name("puller.py")
PART_BYTES = 1 << 20
WEIGHTS_BYTES = 4 * PART_BYTES + 4321
KILLS = 25
MANY_KILLS = 100


def start(name: ModelName, store: Store) -> "subprocess.Popen[str]":
    command = [sys.executable, str(PULLER), name.full, str(store.root), str(PART_BYTES)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: "subprocess.Popen[str]") -> None:
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.fixture
def large(registry: RealRegistry, proxy: FaultProxy, source: Store, access: Access) -> ModelName:
    """A model, at the proxy, that takes about a third of a second to come."""
    there = add_model(source, f"{registry.host}/test/l{os.urandom(4).hex()}", WEIGHTS_BYTES)
    push(there, source, access, lambda progress: None)
    proxy.pause = 0.005
    return ModelName(proxy.host, there.namespace, there.model, there.tag)


def kill_at_random(
    proxy: FaultProxy, name: ModelName, source: Store, target: Store, n_kills: int
) -> None:
    """Every pull asks exactly for what is not noted as there; the last one ends well."""
    chance = random.Random(n_kills)
    weights = source.manifest(next(source.manifests.names()).full)[1].layers[0].digest
    n_cut = 0
    for round in range(n_kills):
        had = _bytes_there(target, weights)
        proxy.asked.clear()
        process = start(name, target)
        if round % 2:  # however slow the machine is, some are killed while bytes come
            wait_for_more(process, target, weights, had)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate()
        proxy.settle()
        has = _bytes_there(target, weights)
        check_sound(target)
        assert has >= had
        assert proxy.bytes_asked()[weights] <= WEIGHTS_BYTES - had
        n_cut += had < has < WEIGHTS_BYTES
        if target.blobs.size(weights) is not None:  # it was faster: begin anew
            target.blobs.remove(weights)
            for path in target.root.glob("manifests/**/latest"):
                path.unlink()
    assert n_cut > n_kills // 8
    left = WEIGHTS_BYTES - _bytes_there(target, weights)
    proxy.asked.clear()
    finish(start(name, target))
    assert proxy.bytes_asked()[weights] == left
    check_same(name, source, target)


def wait_for_more(process: "subprocess.Popen[str]", store: Store, digest: str, had: int) -> None:
    """Return when more of a blob is noted as there, or the process has ended."""
    while process.poll() is None and _bytes_there(store, digest) <= had:
        time.sleep(0.005)


def _bytes_there(store: Store, digest: str) -> int:
    if (size := store.blobs.size(digest)) is not None:
        return size
    has_file = store.blobs.path(digest).with_name(f"{store.blobs.path(digest).name}-partial")
    return completed(store.blobs.folder, digest) if has_file.exists() else 0


@pytest.mark.timeout(300)
def test_killed_pulls_leave_a_sound_store_and_are_continued(
    proxy: FaultProxy, large: ModelName, source: Store, target: Store
) -> None:
    kill_at_random(proxy, large, source, target, KILLS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif("CAMA_TEST_KILLS" not in os.environ, reason="CAMA_TEST_KILLS is not set")
def test_many_killed_pulls_leave_a_sound_store(
    proxy: FaultProxy, large: ModelName, source: Store, target: Store
) -> None:
    kill_at_random(proxy, large, source, target, MANY_KILLS)


def test_two_processes_fetch_each_blob_once(
    proxy: FaultProxy, large: ModelName, source: Store, target: Store
) -> None:
    pair = [start(large, target) for _ in range(2)]
    for process in pair:
        finish(process)
    sizes = {layer.digest: layer.size for layer in target.manifest(large.full)[1].blobs}
    assert dict(proxy.bytes_asked()) == sizes
    check_same(large, source, target)


def test_process_goes_on_where_another_was_killed(
    proxy: FaultProxy, large: ModelName, source: Store, target: Store
) -> None:
    first, second = start(large, target), start(large, target)
    time.sleep(0.3)
    first.kill()
    first.communicate()
    finish(second)
    check_same(large, source, target)
