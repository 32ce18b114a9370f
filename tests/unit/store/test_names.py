"""Model names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.core.errors import InvalidModelName
from cama.store.names import ModelName


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("m", "registry.ollama.ai/library/m:latest"),
        ("u/m:t", "registry.ollama.ai/u/m:t"),
        ("hf.co/u/m-GGUF:Q4_K_M", "hf.co/u/m-GGUF:Q4_K_M"),
        ("host:5000/ns/m", "host:5000/ns/m:latest"),
        ("http://host:80/ns/m:t", "host:80/ns/m:t"),
        ("https://host/ns/m", "host/ns/m:latest"),
        ("Llama3.2:1B", "registry.ollama.ai/library/Llama3.2:1B"),
        ("_x", "registry.ollama.ai/library/_x:latest"),
        ("m" * 80, f"registry.ollama.ai/library/{'m' * 80}:latest"),
        ("h" * 350 + "/n/m", "h" * 350 + "/n/m:latest"),
    ],
)
def test_name_parse_fills_in_defaults(text: str, full: str) -> None:
    assert ModelName.parse(text).full == full


@pytest.mark.parametrize(
    "text",
    [
        "", "mm:", ":t", "//mm", "/m", "m/", "a//m", "-a", ".a", "x/na.me/m",
        "host/name:space/m:t", "a:b:c", "m@sha256:00", "a/b/c/d", "m m", "m\n", "ü", "m\0",
        "m" * 81, "m:" + "t" * 81, "n" * 81 + "/m", "h" * 351 + "/n/m",
        "http://m", "http://ns/m", "ftp://host/ns/m", "://host/ns/m", "..", "a/..", "m:..", "~/m",
    ],
)  # fmt: skip
def test_name_parse_refuses(text: str) -> None:
    with pytest.raises(InvalidModelName):
        ModelName.parse(text)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("m", "m:latest"),
        ("library/m:t", "m:t"),
        ("u/m", "u/m:latest"),
        ("registry.ollama.ai/u/m", "u/m:latest"),
        ("hf.co/library/m", "hf.co/library/m:latest"),
    ],
)
def test_name_short_leaves_out_defaults(text: str, short: str) -> None:
    assert ModelName.parse(text).short == short


def test_name_path_has_four_parts() -> None:
    assert str(ModelName.parse("u/m:t").path) == "registry.ollama.ai/u/m/t"


def test_name_refuses_bad_parts_given_directly() -> None:
    with pytest.raises(InvalidModelName):
        ModelName("host", "..", "m", "t")


def test_name_error_is_one_line() -> None:
    with pytest.raises(InvalidModelName) as caught:
        ModelName.parse("a\nb" * 1000)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


@given(st.text(max_size=40))
def test_name_parse_gives_a_name_that_reads_back(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidModelName:
        return
    assert ModelName.parse(name.full) == ModelName.parse(name.short) == name
    assert ".." not in name.path.parts
    assert not name.path.is_absolute()
