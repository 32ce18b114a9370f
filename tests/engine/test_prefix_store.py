"""Prefixes on disk, as a user of the loop sees them: faster, and never another answer."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cama.core.generation import Adapter
from cama.core.load import PrefixFolder
from cama.engine.loop import Loop
from cama.engine.prefix_file import TEMPORARY
from cama.engine.prefix_store import PrefixStore, Saved
from tests.engine.fake import FakeEngine
from tests.engine.sinks import Sink, submit

IDENTITY = "0123456789abcdef"
TRUNK = "You are a camel. You answer the questions of travellers, shortly and without malice. "
PROMPT = TRUNK + "How far is the next well?"


def _folder(path: Path, *, max_bytes: int = 1 << 30, min_seconds: float = 0.0) -> PrefixFolder:
    return PrefixFolder(path=path / "prefix", max_bytes=max_bytes, min_seconds=min_seconds)


@contextmanager
def _serving(
    folder: PrefixFolder,
    identity: str = IDENTITY,
    engine: FakeEngine | None = None,
    kind: type[PrefixStore] = PrefixStore,
) -> Iterator["_Server"]:
    """A loop that has just been started; at the end everything is on disk."""
    store = kind(folder, identity)
    server = _Server(engine or FakeEngine(n_ctx=512), store)
    try:
        yield server
        server.loop.check_integrity()
    finally:
        store.close()


class _Server:
    def __init__(self, engine: FakeEngine, store: PrefixStore) -> None:
        self.engine, self.store = engine, store
        self.loop = Loop(engine, store=store)
        self.n_requests = 0

    def submit(self, prompt: str, **options: Any) -> Sink:
        self.n_requests += 1
        return submit(
            self.loop, self.engine, str(self.n_requests), prompt, **{"num_predict": 8} | options
        )

    def answer(self, prompt: str, **options: Any) -> Sink:
        sink = self.submit(prompt, **options)
        self.wait(sink)
        return sink

    def wait(self, *sinks: Sink) -> None:
        until(lambda: not self.loop.step() and all(sink.is_over for sink in sinks))

    def evict_all(self) -> None:
        while self.loop._cache.evict():
            pass


def until(condition: Callable[[], bool]) -> None:
    """The test's timeout is the bound."""
    while not condition():
        time.sleep(0.0005)


def _cold(prompt: str) -> str:
    engine = FakeEngine(n_ctx=512)
    loop = Loop(engine)
    sink = submit(loop, engine, "cold", prompt, num_predict=8)
    while loop.step():
        pass
    return sink.text


def _files(folder: PrefixFolder) -> list[Path]:
    return sorted(folder.path.iterdir()) if folder.path.exists() else []


def _save(folder: PrefixFolder, prompt: str = PROMPT, **options: Any) -> Path:
    """Answer ``prompt`` once; the file that it left."""
    before = _files(folder)
    with _serving(folder) as server:
        server.answer(prompt, **options)
    (path,) = set(_files(folder)) - set(before)
    return path


def test_prompt_survives_a_restart(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    _save(folder)
    with _serving(folder) as server:
        sink = server.answer(PROMPT)
    assert sink.text == _cold(PROMPT)
    assert sink.finish.cached_tokens == sink.finish.restored_tokens == len(PROMPT) - 1
    assert sink.finish.miss_reason is None
    assert server.engine.plans[0].n_tokens == 1


def test_conversation_goes_on_after_a_restart(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with _serving(folder) as server:
        text = server.answer(PROMPT).text
    prompt = PROMPT + text + " And the one behind it?"
    with _serving(folder) as server:
        sink = server.answer(prompt)
    assert sink.finish.restored_tokens == len(PROMPT) - 1
    assert sink.text == _cold(prompt)


def test_prompt_survives_eviction(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with _serving(folder) as server:
        server.answer(PROMPT)
        until(lambda: bool(_files(folder)) and not server.store._is_saving)
        server.evict_all()
        sink = server.answer(PROMPT)
    assert (sink.finish.restored_tokens, sink.text) == (len(PROMPT) - 1, _cold(PROMPT))


def test_common_beginning_is_restored_from_a_file_that_goes_on_differently(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    _save(folder)
    prompt = TRUNK + "What do you carry?"
    with _serving(folder) as server:
        sink = server.answer(prompt)
    assert sink.finish.restored_tokens == len(TRUNK)
    assert sink.text == _cold(prompt)


def test_what_is_cached_is_not_read(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with _serving(folder) as server:
        server.answer(PROMPT)
        until(lambda: bool(_files(folder)) and not server.store._is_saving)
        sink = server.answer(PROMPT)
    assert (sink.finish.cached_tokens, sink.finish.restored_tokens) == (len(PROMPT) - 1, 0)


def test_cancelled_prompt_is_saved_as_far_as_it_was_read(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with _serving(folder, engine=FakeEngine(n_ctx=512, n_batch=32)) as server:
        server.submit(PROMPT)
        server.loop.step()
        server.loop.cancel("1")
        server.wait()
    with _serving(folder) as server:
        assert server.answer(PROMPT).finish.restored_tokens == 32


# What is saved


def test_cheap_prompt_is_not_saved(tmp_path: Path) -> None:
    folder = _folder(tmp_path, min_seconds=60.0)
    with _serving(folder) as server:
        server.answer(PROMPT)
    assert _files(folder) == []


def test_turns_of_a_conversation_are_not_all_saved(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    lengths = []
    prompt = PROMPT
    for turn in range(12):
        with _serving(folder) as server:
            prompt += server.answer(prompt, num_predict=4).text + f" Question {turn}?"
            lengths.append(len(prompt))
    assert 2 <= len(_files(folder)) <= 4
    with _serving(folder) as server:
        assert server.answer(prompt).finish.restored_tokens > 0.6 * len(prompt)


def test_prompts_with_a_common_beginning_are_saved_once(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    for name in ("Ann", "Ben", "Cleo"):
        with _serving(folder) as server:
            server.answer(TRUNK + f"I am {name}.", num_predict=2)
    assert len(_files(folder)) == 1


def test_file_is_for_its_user_alone(tmp_path: Path) -> None:
    path = _save(_folder(tmp_path))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


# The bound


def test_least_recently_used_file_makes_room(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    first, second = (_save(folder, f"{name} {PROMPT}") for name in ("One", "Two"))
    size = first.stat().st_size
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    folder = _folder(tmp_path, max_bytes=2 * size + 100)
    with _serving(folder) as server:
        assert server.answer(f"One {PROMPT}").finish.restored_tokens
    third = _save(folder, f"Six {PROMPT}")
    assert _files(folder) == sorted((first, third))


def test_state_larger_than_the_bound_is_not_saved(tmp_path: Path) -> None:
    folder = _folder(tmp_path, max_bytes=100)
    with _serving(folder) as server:
        server.answer(PROMPT)
    assert _files(folder) == []


def test_leftovers_of_dead_processes_are_deleted(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.path.mkdir()
    old, new, other = (folder.path / name for name in (TEMPORARY + "1", TEMPORARY + "2", "note"))
    for path in (old, new, other):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    path = _save(folder)
    assert set(_files(folder)) == {new, other, path}


def test_folder_that_cannot_be_written_ends_saving_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "prefix").write_bytes(b"a file in the folder's place")
    with caplog.at_level(logging.WARNING), _serving(_folder(tmp_path)) as server:
        for prompt in ("One " + PROMPT, "Two " + PROMPT):
            assert server.answer(prompt).text == _cold(prompt)
            until(lambda: not server.store._is_saving)
    assert [r.message for r in caplog.records if "not saved any more" in r.message] != []
    assert len(caplog.records) == 1


# Files that are not what they should be


def test_tampered_file_never_changes_an_answer(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    prompt = "How far is it?"
    path = _save(folder, prompt, num_predict=1)
    whole, expected = path.read_bytes(), _cold(prompt)
    n_deleted = 0
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        with _serving(_folder(tmp_path, min_seconds=60.0)) as server:
            sink = server.answer(prompt)
        assert (sink.text, sink.finish.restored_tokens) == (expected, 0)
        n_deleted += not _files(folder)
    # What is left alone was not read: it says that computing it takes no time.
    assert n_deleted > len(whole) - 10


@pytest.mark.parametrize("kind", ["empty", "short", "long", "noise", "nested", "link", "fifo"])
def test_file_that_is_none_of_ours_is_deleted(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = _folder(tmp_path)
    path = _save(folder)
    whole = path.read_bytes()
    path.unlink()
    match kind:
        case "empty":
            path.touch()
        case "short":
            path.write_bytes(whole[:-1])
        case "long":
            path.write_bytes(whole + b"\0")
        case "noise":
            path.write_bytes(os.urandom(5000))
        case "nested":
            path.write_bytes(whole[:8] + (60000).to_bytes(4, "little") + b"[" * 60000)
        case "link":
            (tmp_path / "target").write_bytes(whole)
            path.symlink_to(tmp_path / "target")
        case "fifo":
            os.mkfifo(path)
    with caplog.at_level(logging.WARNING), _serving(_folder(tmp_path, min_seconds=60)) as server:
        sink = server.answer(PROMPT)
    assert (sink.text, sink.finish.restored_tokens) == (_cold(PROMPT), 0)
    assert _files(folder) == []
    assert len(caplog.records) == 1


def test_file_that_is_deleted_meanwhile_is_not_missed(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    path = _save(folder)
    with _serving(folder) as server:
        path.unlink()
        sink = server.answer(PROMPT)
    assert (sink.text, sink.finish.restored_tokens) == (_cold(PROMPT), 0)


def test_state_that_the_engine_refuses_is_deleted(tmp_path: Path) -> None:
    folder = _folder(tmp_path)

    class Refused(FakeEngine):
        def save(self, seq: int, length: int) -> bytes:
            return b"not a state of this engine"

    with _serving(folder, engine=Refused(n_ctx=512)) as server:
        server.answer(PROMPT)
    with _serving(_folder(tmp_path, min_seconds=60)) as server:
        assert server.answer(PROMPT).text == _cold(PROMPT)
    assert _files(folder) == []


def test_another_model_uses_nothing_and_deletes_nothing(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    path = _save(folder)
    with _serving(_folder(tmp_path, min_seconds=60.0), "another") as server:
        assert server.answer(PROMPT).finish.restored_tokens == 0
    assert _files(folder) == [path]


def test_file_of_another_model_under_our_name_is_deleted(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    path = _save(folder)
    other = IDENTITY[::-1]
    path.rename(path.with_name(path.name.replace(IDENTITY, other)))
    with _serving(_folder(tmp_path, min_seconds=60.0), other) as server:
        assert server.answer(PROMPT).finish.restored_tokens == 0
    assert _files(folder) == []


OTHERS = [{"tenant": "other"}, {"adapters": (Adapter(path=Path("other"), digest="other"),)}]


@pytest.mark.parametrize("options", OTHERS)
def test_tenants_and_adapters_share_no_file(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = _folder(tmp_path)
    _save(folder)
    with _serving(folder) as server:
        assert server.answer(PROMPT, **options).finish.restored_tokens == 0
    with _serving(folder) as server:
        sink = server.answer(PROMPT, **options)
    assert sink.finish.restored_tokens == len(PROMPT) - 1
    assert len(_files(folder)) == 2


# Together


def test_two_runners_share_a_folder(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with _serving(folder) as one, _serving(folder) as two:
        one.answer(PROMPT)
        until(lambda: bool(_files(folder)) and not one.store._is_saving)
        two.answer("Something else, to notice the new file.", num_predict=1)
        until(lambda: len(two.store._saved) >= 1)
        sink = two.answer(PROMPT)
    assert (sink.finish.restored_tokens, sink.text) == (len(PROMPT) - 1, _cold(PROMPT))


class _Slow(PrefixStore):
    """Reads a file when it is told to."""

    def __init__(self, folder: PrefixFolder, identity: str) -> None:
        self.may_read = threading.Event()
        super().__init__(folder, identity)

    def _read(self, saved: Saved) -> bytes | None:
        self.may_read.wait()
        return super()._read(saved)


def test_others_go_on_while_a_file_is_read(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    _save(folder)
    with _serving(folder, kind=_Slow) as server:
        assert isinstance(server.store, _Slow)
        waits = server.submit(PROMPT)
        other = server.submit("Something else.")
        while server.loop.step():
            pass
        assert (other.is_over, waits.events) == (True, [])
        server.store.may_read.set()
        server.wait(waits)
    assert waits.finish.restored_tokens == len(PROMPT) - 1
    assert waits.text == _cold(PROMPT)


def test_request_does_not_wait_with_one_that_was_cancelled(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    _save(folder)
    with _serving(folder, kind=_Slow) as server:
        assert isinstance(server.store, _Slow)
        cancelled, other = server.submit(PROMPT), server.submit(PROMPT + "!")
        while server.loop.step():
            pass
        server.loop.cancel("1")
        server.store.may_read.set()
        server.wait(other)
    assert cancelled.events == []
    assert other.finish.restored_tokens == len(PROMPT) - 1
    assert other.text == _cold(PROMPT + "!")
    assert not server.loop._saving._reads


def test_cache_that_resumes_only_at_ends_uses_whole_files(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    whole = PROMPT[:96]
    with _serving(folder, engine=FakeEngine(n_ctx=512, grain=32)) as server:
        server.answer(whole, num_predict=1)
    for prompt, n_restored in ((whole[:90] + "?", 64), (whole + " And then?", 96)):
        with _serving(folder, engine=FakeEngine(n_ctx=512, grain=32)) as server:
            sink = server.answer(prompt, num_predict=8)
        assert (sink.finish.restored_tokens, sink.text) == (n_restored, _cold(prompt))
