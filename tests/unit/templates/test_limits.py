"""Hostile templates are stopped before they take much time or memory."""

import pytest

from cama.core.errors import CamaError, InvalidRequest
from cama.templates.budget import MAX_CPU_SECONDS, MAX_TEXT, MAX_WORK, Budget
from cama.templates.jinja import ChatTemplate

LOOP = "{% for i in range(60) %}"
END = "{% endfor %}"

COSTLY = {
    "long output": "{% for a in range(99999) %}{{ 'x' * 10000 }}{% endfor %}",
    "long fixed text": "{% for a in range(99999) %}" + "y" * 9999 + END,
    "doubling by ~": "{% set n = namespace(x='ab') %}" + LOOP + "{% set n.x = n.x ~ n.x %}" + END,
    "doubling by +": "{% set n = namespace(x='ab') %}" + LOOP + "{% set n.x = n.x + n.x %}" + END,
    "doubling by a block": "{% set n = namespace(x='ab') %}"
    + LOOP
    + "{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}"
    + END,
    "doubling lists": "{% set n = namespace(x=[1]) %}" + LOOP + "{% set n.x = n.x + n.x %}" + END,
    "nesting lists": "{% set n = namespace(x=[1]) %}" + LOOP + "{% set n.x = [n.x, n.x] %}" + END,
    "nesting tuples": "{% set n = namespace(x=1) %}" + LOOP + "{% set n.x = (n.x, n.x) %}" + END,
    "nesting maps": "{% set n = namespace(x=1) %}"
    + LOOP
    + "{% set n.x = {'a': n.x, 'b': n.x} %}"
    + END,
    "nesting calls": "{% set n = namespace(x=1) %}"
    + LOOP
    + "{% set n.x = dict(a=n.x, b=n.x) %}"
    + END,
    "repeated text": "{{ 'a' * 1000000000000 }}",
    "repeated list": "{{ (1000000000000 * [1]) | length }}",
    "power": "{{ 10 ** (10 ** 10) }}",
    "huge power": "{% set x = 10 ** 10000 %}",
    "squares": "{% set n = namespace(x=10) %}" + LOOP + "{% set n.x = n.x * n.x %}" + END,
    "join filter": "{{ range(99999) | join('a' * 100000) }}",
    "join method": "{{ ('a' * 100000).join('b' * 100000) }}",
    "replace filter": "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "replace method": "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "replace nothing": "{{ ('a' * 100000) | replace('', 'b' * 100000) }}",
    "indent": "{{ 'a\\nb' | indent(1000000000) }}",
    "json indent": "{{ [1] | tojson(indent=1000000000) }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "format method": "{{ '{:1000000000}'.format(1) }}",
    "format method nested": "{{ '{:{}}'.format(1, 1000000000) }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "round": "{{ 1.5 | round(1000000000, 'ceil') }}",
    "sum of lists": "{{ [[1], [2]] | sum(start=[]) }}",
    "many references": "{% set x = range(99999) | list %}"
    "{{ range(99999) | map(attribute='q') | map('default', x) | list }}",
    "split": "{{ ('a ' * 8000000).split(' ') | length }}",
    "many long texts": "{% set n = namespace(x=[]) %}{% for i in range(99999) %}"
    "{% set n.x = n.x + ['a' * 1000000 ~ i] %}{% endfor %}",
}

FORBIDDEN = {
    "class": "{{ ''.__class__.__mro__ }}",
    "globals": "{{ raise_exception.__globals__.x }}",
    "context": "{{ self._TemplateReference__context.parent }}",
    "class by format": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "class by attr": "{{ (''|attr('__class__')).x }}",
    "int method": "{{ (5).to_bytes(1000000000) }}",
    "ljust": "{{ 'a'.ljust(1000000000) }}",
    "zfill": "{{ 'a'.zfill(1000000000) }}",
    "big range": "{{ range(1000000000) | length }}",
    "lipsum": "{{ lipsum(n=1000000000) }}",
    "endless recursion": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "deep value": "{% set n = namespace(x=[1]) %}{% for i in range(9999) %}"
    "{% set n.x = [n.x] %}{% endfor %}{{ n.x | tojson }}",
}


def render(source: str) -> str:
    return ChatTemplate(source, bos="", eos="").render([{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize("name", COSTLY)
def test_costly_template_is_stopped(name: str) -> None:
    with pytest.raises(InvalidRequest, match="the model's chat template was stopped"):
        render(COSTLY[name])


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_thing_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="the model's chat template refused"):
        render(FORBIDDEN[name])


@pytest.mark.parametrize("filter", ["center", "xmlattr", "urlize", "wordwrap", "batch", "slice"])
def test_filters_for_pages_are_not_there(filter: str) -> None:
    with pytest.raises(CamaError, match="No filter named"):
        render("{{ 'a' | " + filter + "(9) }}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) if 0 %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for a in range(99999) %}{{ range(99999) | map('string') | map('length') | sum }}"
        "{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}"
        "{{ [-1000000000] | map(' step') | list }}{% endfor %}{% endfor %}",
        "{% set c = cycler(1, 2) %}{% for a in range(99999) %}{% for b in range(99999) %}"
        "{{ c.next() }}{% endfor %}{% endfor %}",
    ],
)
def test_endless_work_is_stopped(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A smaller allowance, so that the test need not burn what a real rendering may.
    monkeypatch.setattr("cama.templates.budget.MAX_WORK", 1 << 20)
    with pytest.raises(InvalidRequest, match="it does too much work"):
        render(source)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_budget_ends_with_its_time() -> None:
    clock = Clock()
    budget = Budget(clock)
    clock.now = MAX_CPU_SECONDS
    budget.step(10_000)
    clock.now += 0.1
    with pytest.raises(InvalidRequest, match="it takes too long"):
        budget.step(10_000)


def test_budget_ends_with_its_work() -> None:
    budget = Budget(Clock())
    budget.spend(MAX_WORK)
    with pytest.raises(InvalidRequest, match="it does too much work"):
        budget.spend(1)


def test_budget_cannot_be_refunded() -> None:
    budget = Budget(Clock())
    budget.spend(MAX_WORK)
    with pytest.raises(InvalidRequest):
        budget.spend(-1000)


def test_budget_limits_the_sum_of_what_is_emitted() -> None:
    budget = Budget(Clock())
    budget.emit(MAX_TEXT)
    with pytest.raises(InvalidRequest, match="it makes too long a text"):
        budget.emit(1)


def test_budget_counts_shared_parts_each_time() -> None:
    budget = Budget(Clock())
    part = ["x" * 100]
    assert budget.weigh([part, part]) == 2 * budget.weigh(part) + budget.weigh(0)


def test_long_conversation_is_within_the_limits() -> None:
    source = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}"
        "{% if loop.last %}!{% endif %}{% endfor %}"
    )
    messages = [{"role": "user", "content": "word " * 1000}] * 1000
    prompt = ChatTemplate(source, bos="", eos="").render(messages)
    assert len(prompt) == 1000 * (len("<|user|>") + 4999) + 1
