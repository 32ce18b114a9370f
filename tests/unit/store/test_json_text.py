"""JSON of the store."""

from typing import Any

import pytest

from cama.core.errors import InvalidModelFile
from cama.store.json_text import MAX_DEPTH, decode_object, decode_objects, encode_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None]}, '{"b":1,"a":[true,null]}\n'),
        ({"stop": ["<|im_end|>"]}, '{"stop":["\\u003c|im_end|\\u003e"]}\n'),
        ({"t": 1.0, "u": 0.7}, '{"t":1,"u":0.7}\n'),
        ("größe & \u2028", '"größe \\u0026 \\u2028"\n'),
        ("\ud800", '"?"\n'),
    ],
)
def test_encode_json_writes_as_go_does(value: Any, text: str) -> None:
    assert encode_json(value).decode() == text


def test_encode_json_sorts_keys_on_request() -> None:
    assert encode_json({"b": 1, "a": 2}, sort=True) == b'{"a":2,"b":1}\n'


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"nil", b'"x"', b"{", b'{"a":NaN}', b'{"a":Infinity}', b"\xff{}",
        b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b'{"a":' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_decode_object_refuses(data: bytes) -> None:
    with pytest.raises(InvalidModelFile, match="the file"):
        decode_object(data, "the file")


def test_decode_object_reads_the_deepest_that_is_allowed() -> None:
    depth = MAX_DEPTH - 1
    assert decode_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}", "the file")


@pytest.mark.parametrize("data", [b"{}", b"[1]", b'[{}, "a"]'])
def test_decode_objects_refuses_other_shapes(data: bytes) -> None:
    with pytest.raises(InvalidModelFile, match="array of objects"):
        decode_objects(data, "the file")
