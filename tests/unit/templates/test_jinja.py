from datetime import datetime
from typing import Any

import pytest

from cama.core.errors import InvalidModelFile, InvalidRequest
from cama.templates.jinja import MAX_SOURCE, ChatTemplate

MESSAGES = [{"role": "user", "content": "Hi"}]


def render(source: str, *, bos: str = "<s>", eos: str = "</s>", **extra: Any) -> str:
    now = datetime(2026, 1, 15, 12)
    return ChatTemplate(source, bos=bos, eos=eos, now=lambda: now).render(MESSAGES, **extra)


LANGUAGE = {
    "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}": "<s>Hi</s>",
    "{% if true %}\n  x\n{% endif %}\ny": "  x\ny",
    "  {% if true %}x{% endif %}": "x",
    "{{ missing }}|{{ missing is defined }}": "|False",
    "{{ tools is none }}{{ documents is none }}": "TrueTrue",
    "{{ add_generation_prompt }}": "True",
    "{{ strftime_now('%d %b %Y') }}": "15 Jan 2026",
    "{% generation %}x{% endgeneration %}": "x",
    "{% for i in range(5) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}": "01",
    "{% set n = namespace(x=1) %}{% for i in [1, 2] %}{% set n.x = n.x + i %}{% endfor %}"
    "{{ n.x }}": "4",
    "{% macro f(a, b='z') %}{{ a ~ b }}{% endmacro %}{{ f('y') }}{{ f(1, 2) }}": "yz12",
    "{% macro f() %}<{{ caller(1) }}>{% endmacro %}{% call(x) f() %}{{ x }}{% endcall %}": "<1>",
    "{% set x %}a{{ 1 }}b{% endset %}{{ x }}": "a1b",
    "{% filter upper %}a{{ 'b' }}{% endfilter %}": "AB",
    "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}": "b1a2",
    "{% for i in [1, 2, 3] if i != 2 %}{{ loop.index }}/{{ loop.length }} {% endfor %}": (
        "1/2 2/2 "
    ),
    "{% for x in [[1], 2] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}": "12",
    "{{ 'a,b'.split(',') | join('-') }}{{ ', '.join(['x', 'y']) }}": "a-bx, y",
    "{{ 'aXbX'.replace('X', '1') }}{{ 'aXbX' | replace('X', '2', 1) }}": "a1b1a2bX",
    "{{ 'a\nb' | indent(2) }}": "a\n  b",
    "{{ '%s-%03d' % ('a', 5) }}{{ '%s' | format(1) }}": "a-0051",
    "{{ '{:>4}|{}'.format('a', [1]) }}": "   a|[1]",
    "{{ [1, 2, 3] | sum }}{{ messages | map(attribute='content') | list }}": "6['Hi']",
    "{{ ([1] + [2]) * 2 }}{{ 'ab' * 2 }}{{ 2 ** 10 }}{{ 7 % 4 }}": "[1, 2, 1, 2]abab10243",
    "{{ 2.567 | round(1) }}{{ 'x' | string }}{{ 5 | string }}": "2.6x5",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}": "1",
}


@pytest.mark.parametrize("source", LANGUAGE)
def test_chat_template_speaks_the_templates_language(source: str) -> None:
    assert render(source) == LANGUAGE[source]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ x | tojson }}", '{"b": "é<&\'", "a": [1, null, true]}'),
        ("{{ x | tojson(indent=1) }}", '{\n "b": "é<&\'",\n "a": [\n  1,\n  null,\n  true\n ]\n}'),
        ("{{ x | tojson(separators=(',', ':')) }}", '{"b":"é<&\'","a":[1,null,true]}'),
        ("{{ x | tojson(sort_keys=true) }}", '{"a": [1, null, true], "b": "é<&\'"}'),
        ("{{ x | tojson(ensure_ascii=true) }}", '{"b": "\\u00e9<&\'", "a": [1, null, true]}'),
    ],
)
def test_tojson_is_plain_json(source: str, text: str) -> None:
    assert render(source, x={"b": "é<&'", "a": [1, None, True]}) == text


def test_chat_template_passes_extra_variables() -> None:
    assert render("{{ enable_thinking }}", enable_thinking=False) == "False"


def test_chat_template_reports_its_own_refusal() -> None:
    with pytest.raises(InvalidRequest) as caught:
        render("{{ raise_exception('roles must\nalternate') }}")
    assert caught.value.message == "the model's chat template refused: roles must alternate"


@pytest.mark.parametrize(
    "source",
    [
        "{{ missing.attribute }}",
        "{{ 1 / 0 }}",
        "{{ missing | tojson }}",
        "{% include 'other' %}",
        "{{ messages[0].nothing() }}",
        "{{ [1] + 'a' }}",
    ],
)
def test_chat_template_that_fails_is_a_refusal(source: str) -> None:
    with pytest.raises(InvalidRequest, match="the model's chat template refused"):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{% if %}",
        "{{ 'a' | no_such_filter }}",
        "{% nonsense %}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "x" * (MAX_SOURCE + 1),
        "{{ " + "9" * 5000 + " }}",
    ],
)
def test_chat_template_that_does_not_compile_is_a_bad_file(source: str) -> None:
    with pytest.raises(InvalidModelFile) as caught:
        render(source)
    assert caught.value.fields == {"field": "tokenizer.chat_template"}
    assert "\n" not in caught.value.message


def test_chat_template_does_not_change_its_messages() -> None:
    with pytest.raises(InvalidRequest, match="unsafe"):
        render("{{ messages.append(1) }}")
    assert MESSAGES == [{"role": "user", "content": "Hi"}]
