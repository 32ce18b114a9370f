import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.core.errors import CamaError, InvalidRequest
from cama.wire.decode import MAX_DEPTH, Fields, decode_body, is_deeper


def fields(**data: Any) -> Fields:
    return Fields(data, "Thing")


def refusal(body: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode_body(body)
    return caught.value.message


@pytest.mark.parametrize("body", [b"", b"  \r\n\t"])
def test_decode_misses_an_empty_body(body: bytes) -> None:
    assert refusal(body) == "missing request body"


def test_decode_takes_null_for_an_empty_object() -> None:
    assert decode_body(b" null") == {}


def test_decode_reads_only_the_first_value() -> None:
    assert decode_body(b'{"a": 1}{"a": 2} garbage') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "unexpected EOF"),
        (b'{"a', "unexpected EOF"),
        (b'{"a": "b', "unexpected EOF"),
        (b'{"a":', "unexpected EOF"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"{x}", "invalid character 'x' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a": 1 2}', "invalid character '2' after value"),
        (b'{"a": NaN}', "invalid character 'N' looking for beginning of value"),
        (b'{"a": -Infinity}', "invalid character '-' looking for beginning of value"),
        (b'{"a": "\n"}', "invalid character '\\n' in string literal"),
        (b"[1]", "json: cannot unmarshal array into Go value of type object"),
        (b'"a"', "json: cannot unmarshal string into Go value of type object"),
        (b"true", "json: cannot unmarshal bool into Go value of type object"),
        (b"1.5", "json: cannot unmarshal number into Go value of type object"),
    ],
)
def test_decode_words_refusals_like_go(body: bytes, text: str) -> None:
    assert refusal(body) == text


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_decode_limits_the_depth(depth: int) -> None:
    body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    assert refusal(body) == "exceeded max depth"


def test_decode_refuses_a_number_of_too_many_digits() -> None:
    assert "out of range" in refusal(b'{"a": ' + b"9" * 10_000 + b"}")


@pytest.mark.parametrize("number", [b"1e999", b"-1e309", b"1" * 4000 + b".5"])
def test_decode_refuses_a_number_that_no_float_holds(number: bytes) -> None:
    assert "out of range" in refusal(b'{"a": [' + number + b"]}")


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**4000, True, False, 1.0, "1", [1]])
def test_an_integer_has_64_bits(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"Thing\.a of type int"):
        fields(a=value).integer("a")
    with pytest.raises(InvalidRequest, match=r"Thing\.a of type int"):
        fields(a=[1, value]).integers("a")


def test_decode_replaces_bytes_that_are_not_utf8() -> None:
    assert decode_body(b'{"a": "\xff"}') == {"a": "\ufffd"}


def test_decode_replaces_half_of_a_surrogate_pair() -> None:
    body = rb'{"\ud800": ["x\udc00y", {"b": "\ud83d\ude00"}], "n": 1}'
    assert decode_body(body) == {"\ufffd": ["x\ufffdy", {"b": "\U0001f600"}], "n": 1}


@given(st.binary(max_size=60))
def test_decode_gives_an_object_or_refuses(body: bytes) -> None:
    try:
        value = decode_body(body)
    except CamaError:
        return
    json.dumps(value).encode()


def test_is_deeper_counts_levels() -> None:
    nested = {"a": [[1]]}
    assert is_deeper(nested, 2)
    assert not is_deeper(nested, 3)


def test_fields_match_keys_of_any_case() -> None:
    assert fields(MoDel="x").text("model") == "x"


def test_fields_prefer_the_exact_key() -> None:
    assert Fields({"model": "a", "MODEL": "b"}, "Thing").text("model") == "a"


def test_fields_take_null_for_absent() -> None:
    found = fields(a=None)
    assert found.text("a") == ""
    assert found.flag("a", default=True)
    assert found.integer("a") == 0
    assert found.object("a") == {}
    assert found.integers("a") == ()
    assert list(found.objects("a")) == []


@pytest.mark.parametrize(
    ("method", "value", "text"),
    [
        ("text", 1, "cannot unmarshal number into Go struct field Thing.a of type string"),
        ("flag", "true", "cannot unmarshal string into Go struct field Thing.a of type bool"),
        ("integer", True, "cannot unmarshal bool into Go struct field Thing.a of type int"),
        ("integer", 1.5, "cannot unmarshal number into Go struct field Thing.a of type int"),
        ("integers", ["x"], "cannot unmarshal string into Go struct field Thing.a of type int"),
        ("integers", [True], "cannot unmarshal bool into Go struct field Thing.a of type int"),
        ("object", [], "cannot unmarshal array into Go struct field Thing.a of type map"),
        ("list", {}, "cannot unmarshal object into Go struct field Thing.a of type []"),
    ],
)
def test_fields_refuse_wrong_types(method: str, value: object, text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        getattr(fields(a=value), method)("a")
    assert text in caught.value.message


def test_fields_of_objects_name_their_place() -> None:
    (inner,) = fields(a=[{"b": 1}]).objects("a")
    with pytest.raises(InvalidRequest, match=r"field Thing\.a\.b of type string"):
        inner.text("b")


def test_fields_refuse_what_is_no_object_among_objects() -> None:
    with pytest.raises(InvalidRequest, match="of type object"):
        list(fields(a=["x"]).objects("a"))
