"""The type of the KV cache: from a variable of either name to what a model is loaded with."""

import pytest

from cama.core.errors import InvalidSetting
from cama.core.settings import Settings
from cama.wire.options import Options


@pytest.mark.parametrize("name", ["CAMA_KV_CACHE_TYPE", "OLLAMA_KV_CACHE_TYPE"])
@pytest.mark.parametrize("text", ["f16", "q8_0", "Q4_0", "f32"])
def test_cache_type_reaches_the_load(name: str, text: str) -> None:
    load = Options.merge({}, {}).load(Settings.load({name: text}))
    assert load.cache_type == text.lower()
    assert load.for_texts().cache_type == ("f32" if text == "f32" else "f16")


def test_cache_is_float16_unless_somebody_says_otherwise() -> None:
    assert Options.merge({}, {}).load(Settings.load({})).cache_type == "f16"


def test_unknown_cache_type_is_refused_by_name() -> None:
    with pytest.raises(InvalidSetting, match="CAMA_KV_CACHE_TYPE=q5_1: must be one of f16"):
        Settings.load({"CAMA_KV_CACHE_TYPE": "q5_1"})
