"""Parameters of a Modelfile."""

from typing import Any

import pytest

from cama.core.errors import InvalidOption
from cama.modelfile.parameters import (
    DEPRECATED,
    add_parameter,
    format_parameters,
    parse_parameter,
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num_ctx", "4096", 4096),
        ("seed", "-1", -1),
        ("seed", "+7", 7),
        ("seed", "9223372036854775807", 2**63 - 1),
        ("temperature", "0.7", 0.7),
        ("temperature", "1", 1.0),
        ("top_p", ".5", 0.5),
        ("min_p", "5.", 5.0),
        ("repeat_penalty", "1e-1", 0.1),
        ("use_mmap", "T", True),
        ("use_mmap", "0", False),
        ("use_mmap", "False", False),
        ("stop", "<|im_end|>", "<|im_end|>"),
        ("stop", "", ""),
    ],
)
def test_parameter_has_its_type(name: str, text: str, value: object) -> None:
    parsed = parse_parameter(name, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x", "1", "unknown parameter 'x'"),
        ("", "top_k 1", "unknown parameter ''"),
        ("Temperature", "1", "unknown parameter 'Temperature'"),
        ("num_ctx", "x", "invalid int value [x]"),
        ("num_ctx", "1.5", "invalid int value [1.5]"),
        ("num_ctx", "", "invalid int value []"),
        ("num_ctx", "1_000", "invalid int value [1_000]"),
        ("num_ctx", "٣", "invalid int value [٣]"),
        ("seed", "9223372036854775808", "invalid int value [9223372036854775808]"),
        ("temperature", "hot", "invalid float value [hot]"),
        ("temperature", "nan", "invalid float value [nan]"),
        ("temperature", "inf", "invalid float value [inf]"),
        ("temperature", "1e39", "invalid float value [1e39]"),
        ("temperature", "1e999", "invalid float value [1e999]"),
        ("use_mmap", "yes", "invalid bool value [yes]"),
    ],
)
def test_parameter_refuses(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_parameter(name, text)
    assert caught.value.message == message


def test_parameter_of_endless_digits_is_refused() -> None:
    with pytest.raises(InvalidOption):
        parse_parameter("num_ctx", "9" * 100_000)


def test_parameters_collect_stops_and_keep_the_last_of_others() -> None:
    values: dict[str, Any] = {}
    for name, text in (("stop", "a"), ("top_k", "1"), ("stop", "b"), ("top_k", "2")):
        add_parameter(values, name, text, pytest.fail)
    assert values == {"stop": ["a", "b"], "top_k": 2}


@pytest.mark.parametrize("name", sorted(DEPRECATED))
def test_parameters_warn_of_deprecated_names(name: str) -> None:
    values: dict[str, Any] = {}
    warnings: list[str] = []
    add_parameter(values, name, "x", warnings.append)
    assert values == {}
    assert warnings == [f"parameter {name} is deprecated"]


def test_format_parameters_reads_back() -> None:
    params: dict[str, Any] = {
        "use_mmap": True, "stop": ["a", "b"], "temperature": 1.0, "top_p": 0.7, "num_ctx": 8,
        "main_gpu": None,
    }  # fmt: skip
    assert format_parameters(params) == [
        ("num_ctx", "8"), ("stop", "a"), ("stop", "b"), ("temperature", "1"), ("top_p", "0.7"),
        ("use_mmap", "true"),
    ]  # fmt: skip
