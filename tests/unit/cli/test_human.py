"""Sizes, counts and times in Ollama's forms."""

from datetime import UTC, datetime, timedelta

import pytest

from cama.cli import human
from cama.core.errors import CamaError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (42_900_000_000, "42 GB"),
        (1_000_000_000, "1 GB"),
        (1_500_000_000, "1.5 GB"),
        (2_019_393_189, "2.0 GB"),
        (9_960_000, "10.0 MB"),
        (3_000_000_000_000, "3 TB"),
    ],
)
def test_size_is_decimal(n_bytes: int, text: str) -> None:
    assert human.size(n_bytes) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (7_000_000_000, "7B"),
        (1_235_814_432, "1.2B"),
        (125_000_000, "125M"),
        (500_500_000, "500.50M"),
        (12_345, "12K"),
        (999, "999"),
    ],
)
def test_count_is_short(n: int, text: str) -> None:
    assert human.count(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_span_is_about_right(seconds: float, text: str) -> None:
    assert human.span(seconds) == text


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (timedelta(minutes=-2), "2 minutes ago"),
        (timedelta(minutes=4, seconds=30), "4 minutes from now"),
        (timedelta(days=366 * 20), "Forever"),
    ],
)
def test_relative_says_which_way(ahead: timedelta, text: str) -> None:
    assert human.relative(NOW + ahead, NOW) == text


def test_relative_of_the_zero_time_is_never() -> None:
    assert human.relative(human.moment("0001-01-01T00:00:00Z"), NOW) == "Never"


def test_moment_reads_nanoseconds_and_offsets() -> None:
    assert human.moment("2026-11-22T13:00:00.123456789+01:00").astimezone(UTC) == NOW.replace(
        microsecond=123456
    )


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-22", "2026-11-22T12:00:00"])
def test_moment_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(CamaError, match="not a time"):
        human.moment(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (7, "7ns"),
        (1500, "1.5µs"),
        (4_071_084, "4.071084ms"),
        (12_300_000, "12.3ms"),
        (439_038_000, "439.038ms"),
        (4_648_158_584, "4.648158584s"),
        (10_000_000_000, "10s"),
        (90_000_000_000, "1m30s"),
        (3_600_000_000_000, "1h0m0s"),
    ],
)
def test_duration_is_gos(nanoseconds: int, text: str) -> None:
    assert human.duration(nanoseconds) == text
