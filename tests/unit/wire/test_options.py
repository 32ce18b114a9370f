from typing import Any

import pytest

from cama.core.errors import InvalidOption, InvalidOptionType
from cama.core.generation import Sampling
from cama.core.load import LoadOptions
from cama.core.settings import Settings
from cama.wire.options import Options


def options(**values: Any) -> Options:
    return Options.merge({}, values)


def test_options_of_nobody_are_the_defaults() -> None:
    found = options()
    assert found.sampling == Sampling()
    assert found.load(Settings()) == LoadOptions()
    assert (found.stop, found.num_keep) == ((), 4)


def test_options_of_the_request_win_over_the_models() -> None:
    merged = Options.merge({"top_k": 1, "seed": 2, "stop": ["a"]}, {"top_k": 3, "stop": ["b"]})
    assert (merged.sampling.top_k, merged.sampling.seed, merged.stop) == (3, 2, ("b",))


def test_options_skip_null() -> None:
    assert Options.merge({"top_k": 1}, {"top_k": None}).sampling.top_k == 1


def test_options_drop_unknown_keys_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert options(mirostat=1).values == {}
    assert "unknown option 'mirostat' is ignored" in caplog.text


def test_options_warn_of_known_keys_without_effect(caplog: pytest.LogCaptureFixture) -> None:
    options(main_gpu=1)
    assert "option main_gpu has no effect in this version" in caplog.text


def test_options_truncate_numbers_to_integers() -> None:
    assert options(top_k=7.9).sampling.top_k == 7
    assert options(num_keep=-1.5).num_keep == -1


def test_options_take_integers_for_floats() -> None:
    assert options(temperature=1).sampling.temperature == 1.0


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("num_ctx", "1", 'option "num_ctx" must be of type integer'),
        ("seed", True, 'option "seed" must be of type integer'),
        ("temperature", "hot", 'option "temperature" must be of type float32'),
        ("top_p", False, 'option "top_p" must be of type float32'),
        ("use_mmap", 1, 'option "use_mmap" must be of type boolean'),
        ("stop", "end", 'option "stop" must be of type array'),
        ("stop", [1], 'option "stop" must be of an array of strings'),
        ("num_gpu", [], 'option "num_gpu" must be of type integer'),
    ],
)
def test_options_refuse_wrong_types(key: str, value: object, text: str) -> None:
    with pytest.raises(InvalidOptionType) as caught:
        options(**{key: value})
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 2**63), ("seed", 1e300), ("top_p", 1e39), ("stop", ["x"] * 257)],
)
def test_options_refuse_what_no_engine_can_hold(key: str, value: object) -> None:
    with pytest.raises(InvalidOption):
        options(**{key: value})


def test_options_ignore_empty_stop_texts() -> None:
    assert options(stop=["", "x"]).stop == ("x",)


@pytest.mark.parametrize(("asked", "given"), [(-1, 40), (0, 40), (7, 7), (40, 40), (41, 40)])
def test_num_predict_always_has_an_end(asked: int, given: int) -> None:
    assert options(num_predict=asked).num_predict(4) == given


def test_load_takes_the_settings_where_options_are_silent() -> None:
    settings = Settings(context_length=99, num_threads=3, num_parallel=2, engine="llama")
    load = options().load(settings)
    assert (load.n_ctx, load.n_threads, load.n_parallel, load.engine) == (99, 3, 2, "llama")


def test_load_prefers_the_options_to_the_settings() -> None:
    settings = Settings(context_length=99, num_threads=3)
    load = options(num_ctx=50, num_thread=1, num_batch=8, num_gpu=0, use_mmap=False).load(settings)
    assert (load.n_ctx, load.n_threads, load.n_batch) == (50, 1, 8)
    assert (load.n_gpu_layers, load.use_mmap) == (0, False)


@pytest.mark.parametrize(
    ("key", "value", "field", "given"),
    [
        ("num_ctx", -5, "n_ctx", 0),
        ("num_ctx", 1, "n_ctx", 4),
        ("num_ctx", 2**40, "n_ctx", 2**31 - 1),
        ("num_batch", 0, "n_batch", 1),
        ("num_batch", 10**9, "n_batch", 2**14),
        ("num_thread", 10**9, "n_threads", 2**10),
    ],
)
def test_load_keeps_numbers_within_reason(key: str, value: int, field: str, given: int) -> None:
    assert getattr(options(**{key: value}).load(Settings()), field) == given
