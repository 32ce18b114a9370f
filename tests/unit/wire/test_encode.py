from datetime import UTC, datetime, timedelta, timezone

import pytest

from cama.wire.encode import (
    duration,
    encode,
    go_literal,
    local_timestamp,
    timestamp,
    without_empty,
)


def test_encode_is_compact_and_keeps_the_order() -> None:
    assert encode({"b": 1, "a": [True, None]}) == b'{"b":1,"a":[true,null]}'


def test_encode_escapes_what_html_and_scripts_could_misread() -> None:
    assert encode("<a>&\u2028\u2029é") == (
        b'"\\u003ca\\u003e\\u0026\\u2028\\u2029' + "é".encode() + b'"'
    )


def test_encode_never_writes_half_a_surrogate_pair() -> None:
    encode("\ud800").decode()


def test_encode_refuses_what_json_has_no_number_for() -> None:
    with pytest.raises(ValueError):
        encode(float("nan"))


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1_000_000_001, "1970-01-01T00:00:01.000000001Z"),
        (10_000_000_000, "1970-01-01T00:00:10Z"),
    ],
)
def test_timestamp_trims_zeros(nanoseconds: int, text: str) -> None:
    assert timestamp(nanoseconds) == text


def test_timestamp_is_now() -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert datetime.fromisoformat(timestamp()[:19] + "+00:00") >= before.replace(microsecond=0)


@pytest.mark.parametrize(
    ("zone", "microsecond", "text"),
    [
        (UTC, 0, "2026-01-02T03:04:05Z"),
        (timezone(timedelta(hours=2)), 120000, "2026-01-02T03:04:05.12+02:00"),
        (timezone(-timedelta(hours=3, minutes=30)), 0, "2026-01-02T03:04:05-03:30"),
    ],
)
def test_local_timestamp_names_the_zone(zone: timezone, microsecond: int, text: str) -> None:
    assert local_timestamp(datetime(2026, 1, 2, 3, 4, 5, microsecond, zone)) == text


def test_duration_is_whole_nanoseconds() -> None:
    assert duration(1.5) == 1_500_000_000
    assert duration(-1e-9) == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        ('a "b"\n', '"a \\"b\\"\\n"'),
        (4096, "4096"),
        (131072, "131072"),
        (1_000_000, "1e+06"),
        (1_048_576, "1.048576e+06"),
        (-2_500_000, "-2.5e+06"),
        (0, "0"),
        (0.7, "0.7"),
        (1.0, "1"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (float("inf"), "+Inf"),
        ([1], "[1]"),
    ],
)
def test_go_literal_writes_values_as_go_does(value: object, text: str) -> None:
    assert go_literal(value) == text


def test_without_empty_keeps_false() -> None:
    fields = {"a": 0, "b": "", "c": None, "d": [], "e": False, "f": 1}
    assert without_empty(fields) == {"e": False, "f": 1}
