"""Hostile Go templates end within limits, with text or a typed error."""

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cama.core.errors import InvalidRequest, InvalidTemplate
from cama.templates.budget import MAX_TEXT
from cama.templates.gotmpl.parser import MAX_NESTING, MAX_SOURCE
from cama.templates.gotmpl.template import GoTemplate
from cama.templates.ollama import OllamaTemplate
from tests.unit.templates.go_cases import CHAT, ENGINE

LONG = {"Text": "x" * 100_000, "List": ["a"] * 1000, "Name": "Ada"}
DOUBLE = '{{ $x := "ab" }}{{ range 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}'

COSTLY = {
    "long output": "{{ range 100000 }}{{ $.Text }}{{ end }}",
    "long fixed text": "{{ range 1000000 }}" + "y" * 9999 + "{{ end }}",
    "doubling by printf": DOUBLE,
    "doubling by print": DOUBLE.replace('printf "%s%s"', "print"),
    "doubling by quotes": DOUBLE.replace('"%s%s" $x $x', '"%q%q" $x $x'),
    "one value many times": "{{ $f := `" + "%[1]s" * 400 + "` }}{{ printf $f .Text }}",
    "escaping": "{{ $x := .Text }}{{ range 60 }}{{ $x = print $x $x | html | js }}{{ end }}",
    "queries": "{{ $x := .Text }}{{ range 60 }}{{ $x = urlquery $x $x }}{{ end }}",
    "json of json": "{{ $x := `<` }}{{ range 60 }}{{ $x = json (print $x $x) }}{{ end }}",
    "widths": "{{ $x := .List }}{{ range 1000 }}{{ $y := printf `%1000v` $x }}{{ end }}",
    "growing calls": "{{ define `f` }}{{ template `f` (print . .) }}{{ end }}"
    "{{ template `f` .Text }}",
}

ENDLESS = [
    "{{ range 1000000000 }}{{ end }}",
    "{{ range 1000000 }}{{ range 99 }}{{ if eq . 5 }}{{ continue }}{{ end }}{{ end }}{{ end }}",
    "{{ define `f` }}{{ if . }}{{ template `f` (slice . 1) }}{{ template `f` (slice . 1) }}"
    "{{ end }}{{ end }}{{ template `f` (slice .List 960) }}",
    "{{ range 1000000 }}{{ $x := slice $.List 0 }}{{ end }}",
]

DEEP: list[Callable[[int], str]] = [
    lambda n: "{{ if . }}" * n + "{{ end }}" * n,
    lambda n: "{{ len " + "(print " * n + "1" + ")" * n + " }}",
    lambda n: "{{ if . }}" + "{{ else if . }}" * n + "{{ end }}",
    lambda n: "{{ range . }}{{ with . }}" * n + "{{ end }}{{ end }}" * n,
    lambda n: "".join(f"{{{{ block `{i}` . }}}}" for i in range(n)) + "{{ end }}" * n,
]


@pytest.mark.parametrize("name", COSTLY)
def test_costly_template_is_stopped(name: str) -> None:
    with pytest.raises(InvalidRequest, match="the model's chat template"):
        GoTemplate.read(COSTLY[name]).execute(LONG)


@pytest.mark.parametrize("source", ENDLESS)
def test_endless_work_is_stopped(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A smaller allowance, so that the test need not burn what a real rendering may.
    monkeypatch.setattr("cama.templates.budget.MAX_WORK", 1 << 22)
    with pytest.raises(InvalidRequest, match="it does too much work"):
        GoTemplate.read(source).execute(LONG)


@pytest.mark.parametrize("make", DEEP)
def test_nesting_has_a_limit(make: Callable[[int], str]) -> None:
    GoTemplate.read(make(MAX_NESTING // 4)).execute({"a": 1})
    with pytest.raises(InvalidTemplate, match="nested deeper"):
        GoTemplate.read(make(50 * MAX_NESTING))


def test_deep_data_is_refused() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for source in ("{{ . }}", "{{ json . }}", "{{ printf `%d` . }}", "{{ print . }}"):
        with pytest.raises(InvalidRequest, match="nested too deeply"):
            GoTemplate.read(source).execute(deep)


def test_long_source_is_refused() -> None:
    with pytest.raises(InvalidTemplate, match="more than"):
        GoTemplate.read("x" * (MAX_SOURCE + 1))


def test_long_conversation_is_within_the_limits() -> None:
    messages = [
        {"role": ("user", "assistant")[i % 2], "content": "word " * 100} for i in range(3001)
    ]
    prompt = OllamaTemplate(CHAT["templates"]["own-chatml-tools"]).render(messages)
    assert prompt.count("<|im_start|>") == 3002


# Pieces that templates are made of; put together at random, most are broken in some way.
PIECES = [
    "{{", "}}", "{{-", "-}}", "{{ end }}", "{{ else }}", "{{ if .T }}", "{{ range .Items }}",
    "{{ range $i, $v := .L }}", "{{ with $x := .M }}", "{{ define `d` }}", "{{ template `d` . }}",
    "{{ block `b` .L }}", "{{ break }}", "{{ continue }}", "{{/*", "*/}}", "$x", "$", ".", ".L",
    ".M.k1", " | ", " := ", " = ", ", ", "(", ")", "printf", "`%[3]*.[2]*[1]f`", "`%+q`", "slice",
    "index", "json", "len", "eq", "lt", "and", "or", "not", "html", "js", "urlquery", "print",
    "call", "toTypeScriptType", "currentDate", "nil", "true", "1", "-7", "1e9", "0x1F", "'a'",
    '"s"', "`r`", "range 7", "else if", "\n", " ", "text", "é", "\x00", "\ud800", "9" * 30, "1e999",
]  # fmt: skip
SOURCES = [*CHAT["templates"].values(), *(case["template"] for case in ENGINE["cases"])]


def ends_well(source: str) -> bool:
    """Whether ``source`` becomes text, or is refused for what it is, soon enough."""
    began = time.thread_time()
    try:
        made = GoTemplate.read(source).execute(ENGINE["common_data"])
    except (InvalidTemplate, InvalidRequest) as error:
        is_fine = len(error.message) < 1000 and "\n" not in error.message
    else:
        is_fine = len(made) <= MAX_TEXT
    return is_fine and time.thread_time() - began < 10


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_random_pieces_end_well(pieces: list[str]) -> None:
    assert ends_well("".join(pieces))
    assert ends_well("{{ " + " ".join(pieces) + " }}")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SOURCES), st.randoms(use_true_random=False))
def test_damaged_templates_end_well(source: str, choose: random.Random) -> None:
    for _ in range(choose.randint(1, 4)):
        at, upto = sorted(choose.randrange(len(source) + 1) for _ in range(2))
        kept = choose.choice(["", source[at:upto] * 2, choose.choice(PIECES)])
        source = source[:at] + kept + source[min(upto, at + choose.randint(0, 8)) :]
    assert ends_well(source)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=60), st.lists(st.integers() | st.floats() | st.text() | st.booleans()))
def test_any_format_prints(form: str, values: list[object]) -> None:
    data = {"Form": form, "Values": values}
    source = "{{ printf .Form .Values }}{{ range .Values }}{{ printf $.Form . .}}{{ end }}"
    assert isinstance(GoTemplate.read(source).execute(data), str)
