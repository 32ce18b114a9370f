"""What is planned from a file's header is what the engines allocate for it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cama.core.load import CACHE_TYPES, CacheType, LoadOptions
from cama.gguf import GGUFFile
from cama.scheduler.memory import Need, need
from cama.store.facts import read_facts
from cama.store.shape import read_shape
from tests.models.toys import NATIVE

pytestmark = pytest.mark.native

LOAD = LoadOptions(n_ctx=256, n_batch=128, n_cells=512, n_parallel=4, n_threads=1, engine="native")


def kinds(found: Need) -> dict[str, int]:
    return {item.kind: item.n_bytes for item in found.items}


@pytest.mark.parametrize("cache_type", ["f16", "f32", "q8_0"])
@pytest.mark.parametrize("name", sorted(NATIVE))
def test_need_of_a_toy_is_what_the_native_engine_takes(
    name: str, cache_type: CacheType, shared_data: Path
) -> None:
    from cama.engine.native.engine import NativeEngine
    from cama.ggml.library import ggml

    load = replace(LOAD, cache_type=cache_type)
    path = shared_data / "toy" / f"{name}.gguf"
    found = kinds(need(read_facts(path).shape, load))
    engine = NativeEngine.open(path, load, "", lambda fraction: None)
    try:
        storage = engine._storage
        cells = sum(found.get(kind, 0) for kind in ("full", "window", "mla"))
        assert cells == storage.cell_bytes * engine.info.n_cells
        states = sum(4 * pool.shape[0] * pool.shape[1] for pool in storage.state_pools)
        assert found.get("states", 0) == states
        compute = sum(
            ggml().ggml_backend_sched_get_buffer_size(engine._scheduler.address, stream)
            for stream in engine._devices.cpu.addresses
        )
        assert 0.9 * compute <= found["compute"] <= 1.7 * compute + 2**16
    finally:
        engine.close()


@pytest.mark.parametrize("file_type", ["F16", "Q4_K_M"])
def test_need_counts_every_byte_of_the_weights_once(
    file_type: str, tiny_model: Callable[..., Path]
) -> None:
    path = tiny_model("qwen3", file_type)
    with GGUFFile.open(path) as file:
        shape = read_shape(file, file.tensors)
        assert shape.weights_bytes == sum(tensor.n_bytes for tensor in file.tensors.values())
    assert shape.input_bytes
    assert len(shape.layers) == 2
    assert all(layer.weights_bytes for layer in shape.layers)
    assert kinds(need(shape, LOAD))["weights"] == shape.weights_bytes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama", {"full"}),
        ("gemma3", {"full", "window"}),
        ("gpt-oss", {"full", "window"}),
        ("llama4", {"full", "window"}),
        ("deepseek2-mla", {"mla"}),
        ("deepseek2-legacy", {"full"}),
        ("lfm2", {"full", "states"}),
        ("nemotron_h", {"full", "states"}),
        ("qwen3next", {"full", "states"}),
    ],
)
def test_need_tells_kinds_of_caches_apart(name: str, expected: set[str], shared_data: Path) -> None:
    found = kinds(need(read_facts(shared_data / "toy" / f"{name}.gguf").shape, LOAD))
    assert found.keys() & {"full", "window", "mla", "states"} == expected


@pytest.mark.parametrize(
    "name", ["gemma3", "gptoss", "glm4moelite", "lfm2", "mistral3", "olmo3", "qwen25vl", "qwen35"]
)
def test_need_of_a_file_in_the_dialect_of_ollama(name: str, shared_data: Path) -> None:
    from cama.engine.native.engine import NativeEngine

    path = shared_data / "toy-ollama" / f"ollama-{name}.gguf"
    engine = NativeEngine.open(path, LOAD, "", lambda fraction: None)
    try:
        cells = engine._storage.cell_bytes * engine.info.n_cells
    finally:
        engine.close()
    found = kinds(need(read_facts(path).shape, LOAD))
    assert sum(found.get(kind, 0) for kind in ("full", "window", "mla")) == cells


@pytest.mark.parametrize("name", ["bert", "nomic-bert", "gemma-embedding"])
def test_need_of_an_encoder_has_no_cache(name: str, shared_data: Path) -> None:
    found = kinds(need(read_facts(shared_data / "toy" / f"{name}.gguf").shape, LOAD))
    assert found.keys() == {"weights", "compute", "process"}


def test_need_of_an_encoder_in_the_dialect_of_ollama_has_no_cache(shared_data: Path) -> None:
    path = shared_data / "toy-ollama" / "ollama-embeddinggemma.gguf"
    assert kinds(need(read_facts(path).shape, LOAD)).keys() == {"weights", "compute", "process"}


@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "lfm2"])
def test_need_of_a_quantized_cache_is_what_the_engine_takes(
    architecture: str, cache_type: CacheType, tiny_model: Callable[..., Path]
) -> None:
    from cama.engine.native.engine import NativeEngine

    load = replace(LOAD, cache_type=cache_type)
    path = tiny_model(architecture, "F16")
    found = kinds(need(read_facts(path).shape, load))
    engine = NativeEngine.open(path, load, "", lambda fraction: None)
    cells = sum(found.get(kind, 0) for kind in ("full", "window", "mla"))
    assert cells == engine._storage.cell_bytes * engine.info.n_cells
    engine.close()


@pytest.mark.parametrize("cache_type", CACHE_TYPES)
def test_need_of_a_quantized_cache_is_what_the_native_engine_takes(
    cache_type: CacheType, tiny_model: Callable[..., Path]
) -> None:
    """Its heads have 64 elements, whole blocks of every type."""
    from cama.engine.native.engine import NativeEngine

    path = tiny_model("qwen3", "F16")
    load = replace(LOAD, cache_type=cache_type)
    engine = NativeEngine.open(path, load, "", lambda fraction: None)
    try:
        cells = engine._storage.cell_bytes * engine.info.n_cells
    finally:
        engine.close()
    assert kinds(need(read_facts(path).shape, load))["full"] == cells


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What libllama logs while it makes a context: the sizes of its buffers are nowhere else."""
    from cama.engine.llama import model
    from cama.ggml._abi import ggml_log_callback
    from cama.ggml._llama_abi import llama_context_params
    from cama.ggml.library import address_of, silent_log
    from cama.ggml.llama import llama

    lines: list[str] = []
    callback = ggml_log_callback(lambda level, text, data: lines.append(text.decode()))

    def logged(address: int, params: llama_context_params) -> int:
        llama().llama_log_set(address_of(callback), None)
        try:
            return llama().llama_init_from_model(address, params)
        finally:
            llama().llama_log_set(silent_log(), None)

    monkeypatch.setattr(model, "new_context", logged)
    return lines


def logged_bytes(log: list[str], buffer: str) -> int:
    sizes = re.findall(rf"{buffer} buffer size = +([\d.]+) MiB", "".join(log))
    return round(sum(map(float, sizes)) * 2**20)


@pytest.mark.parametrize(
    "name", ["llama", "gemma3", "deepseek2-mla", "nemotron_h", "lfm2", "qwen3next", "gpt-oss"]
)
def test_need_of_a_toy_is_what_libllama_takes(name: str, shared_data: Path, log: list[str]) -> None:
    from cama.engine.llama.engine import LlamaEngine

    path = shared_data / "toy" / f"{name}.gguf"
    # as many cells and sequences as make the hundredths of a MiB in the log count
    load = replace(LOAD, n_ctx=0, n_cells=16384, n_parallel=64, engine="llama")
    LlamaEngine.open(path, load, "", lambda fraction: None).close()
    found = kinds(need(read_facts(path).shape, load))
    cells = sum(found.get(kind, 0) for kind in ("full", "window", "mla"))
    near = 3 * 2**20 / 100
    assert cells == pytest.approx(logged_bytes(log, "KV"), abs=near)
    assert found.get("states", 0) == pytest.approx(logged_bytes(log, "RS"), abs=near)
    compute = logged_bytes(log, "compute") + logged_bytes(log, "output")
    assert 0.85 * compute <= found["compute"] <= 2 * compute  # its delta nets take the most
