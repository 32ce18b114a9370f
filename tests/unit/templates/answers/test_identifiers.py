"""Names of tools as identifiers."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cama.templates.answers.identifiers import identifiers


def test_identifiers_keep_what_they_can() -> None:
    names = ["get_weather", "get-weather", "get.weather", "2nd", "größe", "$x", "get weather"]
    assert identifiers(names) == {
        "get_weather": "get_weather",
        "get-weather": "get_weather_2",
        "get.weather": "get_weather_3",
        "2nd": "_2nd",
        "größe": "gr__e",
        "$x": "$x",
        "get weather": "get_weather_4",
    }


@given(st.lists(st.text(min_size=1, max_size=4)))
def test_identifiers_are_all_different(names: list[str]) -> None:
    found = identifiers(names)
    assert found.keys() == set(names)
    assert len(set(found.values())) == len(found)
    assert all(re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*", made) for made in found.values())
