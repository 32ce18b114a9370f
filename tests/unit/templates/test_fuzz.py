"""Real templates, damaged and spliced at random: each ends within its limits, or is refused."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import CamaError
from cama.templates import budget
from cama.templates.formats import FORMATS
from cama.templates.jinja import ChatTemplate
from cama.templates.ollama import OllamaTemplate
from tests.conftest import REPOSITORY

N_MUTANTS = {"jinja": 300, "gotmpl": 1500}
"""A few seconds of each language; most of Jinja's is spent in compiling."""

_WORDS = re.compile(r"\{[{%#]-?|-?[}%#]\}|\w+|\s+|.", re.DOTALL)
_JINJA = [
    "{% for a in messages %}", "{% endfor %}", "{% if messages %}", "{% endif %}", "{{ messages }}",
    "{% for a in range(99999999) %}", "{{ 'x' * 99999999 }}", "{{ messages|tojson * 9 }}",
    "{% set ns = namespace(a=messages) %}", "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "loop.index0", "loop.previtem", ".items()", "[::-1]", "~", "10**99999", "-1", "None", "|join",
    "{{ raise_exception('x') }}", "{{ ''.join([messages|string]*999) }}", "is mapping", "|length",
    "{{ '%999999999d' % 1 }}", "{{ messages|map('string')|list }}", "{{ strftime_now('%Y') }}",
]  # fmt: skip
_GO = [
    "{{ range .Messages }}", "{{ end }}", "{{ if .Tools }}", "{{ else }}", "{{ . }}", "{{ $ }}",
    '{{ printf "%999999999d" 1 }}', "{{ range $i, $m := .Messages }}", "{{ break }}", "{{ len . }}",
    '{{ template "t" . }}', '{{ define "t" }}{{ template "t" . }}{{ end }}', "{{ json . }}",
    "{{ slice .System 1 }}", "{{ index .Messages 99 }}", "{{ with .System }}", "{{ $x := . }}",
    "{{ .Nobody.Knows }}", "{{ currentDate }}", "{{- ", " -}}", "0x7fffffffffffffff", "1e999",
    "eq", "and",
]  # fmt: skip
_CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Hi"}], "tools": None},
    {
        "messages": [
            {"role": "system", "content": "S" * 200},
            {"role": "user", "content": "{{ messages }}{% for %}"},
            {
                "role": "assistant",
                "content": "<think>a</think>",
                "reasoning_content": "b",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": [1, {}]}}}],
            },
            {"role": "tool", "content": "5", "name": "f", "tool_call_id": "1"},
            {"role": "nobody", "content": ""},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}
        ],
    },
]


def sources(kind: str) -> list[str]:
    """Our own, and the real ones where they are on this machine."""
    data = REPOSITORY.parent / "shared" / "data"
    folders = {"jinja": data / "chat-templates", "gotmpl": data / "gotmpl"}
    found = [path.read_text() for path in sorted(Path(folders[kind]).glob(f"*.{kind}"))]
    go = [known.template for known in FORMATS.values()]
    jinja = [
        "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
        "{% if m.tool_calls %}{{ m.tool_calls|tojson }}{% endif %}{% endfor %}{{ ns.n }}",
    ]
    return found + (go if kind == "gotmpl" else jinja)


def damaged(source: str, others: list[str], extra: list[str], choose: random.Random) -> str:
    """``source`` with a few words dropped, doubled, swapped, or put in from elsewhere."""
    words = _WORDS.findall(source)
    for _ in range(choose.randint(1, 6)):
        if not words:
            break
        at = choose.randrange(len(words))
        end = min(len(words), at + choose.randint(1, 12))
        match choose.randrange(6):
            case 0:
                del words[at:end]
            case 1:
                words[at:at] = words[at:end] * choose.randint(1, 3)
            case 2:
                to = choose.randrange(len(words))
                words[at], words[to] = words[to], words[at]
            case 3:
                other = _WORDS.findall(choose.choice(others))
                start = choose.randrange(len(other))
                words[at:at] = other[start : start + choose.randint(1, 60)]
            case _:
                words[at:at] = [choose.choice(extra)]
    return "".join(words)


@pytest.fixture
def _small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that are reached soon: what counts is that everything is counted."""
    monkeypatch.setattr(budget, "MAX_WORK", 4 << 20)
    monkeypatch.setattr(budget, "MAX_TEXT", 1 << 20)
    monkeypatch.setattr(budget, "MAX_WEIGHT", 1 << 20)


@pytest.mark.usefixtures("_small_budget")
@pytest.mark.parametrize("kind", ["jinja", "gotmpl"])
def test_damaged_templates_end_or_are_refused(kind: str) -> None:
    choose, known = random.Random(7), sources(kind)
    n_rendered = n_refused = 0
    for _ in range(N_MUTANTS[kind]):
        extra = _JINJA if kind == "jinja" else _GO
        source = damaged(choose.choice(known), known, extra, choose)
        try:
            for chat in _CHATS:
                text = render(kind, source, chat)
                assert len(text) <= 1 << 20
        except CamaError:
            n_refused += 1
        else:
            n_rendered += 1
    # a test in which nothing ran to its end, or nothing broke, would show nothing
    assert n_rendered > N_MUTANTS[kind] // 20
    assert n_refused > N_MUTANTS[kind] // 20


def render(kind: str, source: str, chat: dict[str, Any]) -> str:
    if kind == "jinja":
        return ChatTemplate(source, bos="<s>", eos="</s>").render(**chat)
    return OllamaTemplate(source).render(**chat)
