"""Go's text/template language: recorded cases, and what they leave out."""

from typing import Any

import pytest

from cama.core.errors import CamaError, InvalidRequest, InvalidTemplate
from cama.templates.gotmpl.template import GoTemplate
from tests.unit.templates.go_cases import ENGINE

N_CASES = 167


def run(source: str, data: Any = None) -> str:
    return GoTemplate.read(source).execute({} if data is None else data)


def outcome(case: dict[str, Any]) -> str | None:
    try:
        return run(case["template"], case.get("data", ENGINE["common_data"]))
    except CamaError:
        return None


def test_engine_cases_are_all_there() -> None:
    assert len(ENGINE["cases"]) == N_CASES


@pytest.mark.parametrize("case", ENGINE["cases"], ids=lambda case: str(case["name"]))
def test_engine_does_as_go_does(case: dict[str, Any]) -> None:
    assert outcome(case) == case.get("rendered")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # what Go's fmt does with verbs, flags, and arguments that do not suit them
        (r'{{ printf "%+d % d %x %X" 5 5 "hi" "hi" }}', "+5  5 6869 6869"),
        (r'{{ printf "%08.3f|%+.1e|%g|%G" 3.14159 12345.0 1e-7 1e21 }}',
         "0003.142|+1.2e+04|1e-07|1E+21"),
        (r'{{ printf "%[2]s %[1]s" "a" "b" }}', "b a"),
        (r'{{ printf "%*d|%-*d|" 4 7 4 7 }}', "   7|7   |"),
        (r'{{ printf "%T %T %T %T %T" 1 1.5 "x" true .L }}',
         "int float64 string bool []interface {}"),
        (r'{{ printf "%#v %#v %#v" "a" 1 .L }}', '"a" 1 []interface {}{"a", 1}'),
        (r'{{ printf "%q" .L }} {{ printf "%d" .L }}', r'''["a" '\x01'] [%!d(string=a) 1]'''),
        (r'{{ printf "%" }}|{{ printf "%!" 1 }}', "%!(NOVERB)|%!!(int=1)"),
        (r'{{ printf "%s %v %d" nil nil nil }}', "%!s(<nil>) <nil> %!d(<nil>)"),
        (r'{{ printf "%t" 1 }} {{ printf "%5t|" true }}', "%!t(int=1)  true|"),
        (r'{{ printf "%q %q" "a\nb\"\\" "é\x01" }}', r'"a\nb\"\\" "é\x01"'),
        (r'{{ printf "%+q %#q" "é" "a" }}', r'"\u00e9" `a`'),
        (r'{{ printf "%#x %#o %O %05.2d|" 255 8 8 3 }}', "0xff 010 0o10    03|"),
        (r'{{ printf "%c%c" 0x65E5 97 }} {{ printf "%U" 0x1F642 }}', "日a U+1F642"),
        # numbers as they print
        ("{{ 1e6 }} {{ 123456.5 }} {{ 0.0001 }} {{ 0.00001 }}", "1e+06 123456.5 0.0001 1e-05"),
        ("{{ -0.0 }} {{ 0x1p4 }} {{ .5 }} {{ 017 }}", "-0 16 0.5 15"),
        ("{{ json 1e21 }} {{ json 1e-7 }} {{ json 100000.0 }}", "1e+21 1e-7 100000"),
        # values
        ("{{ print nil }} {{ print .L nil }}", "<nil> [a 1] <nil>"),
        ('{{ index (slice "abc" 1 2) 0 }}', "98"),
        ('{{ slice "héllo" 0 3 }}', "hé"),
        ("{{ len (slice .L 2) }} {{ slice .L 0 1 2 }}", "0 [a]"),
        ("{{ eq .L nil }} {{ eq nil nil }} {{ ne 1 2 }}", "false true true"),
        # scopes
        ("{{ $x := 1 }}{{ with 5 }}{{ $x = . }}{{ end }}{{ $x }}", "5"),
        ("{{ range $i, $v := .L }}{{ $i = 7 }}{{ $i }}{{ end }}", "77"),
        ("{{ $v := 0 }}{{ range $v = .L }}{{ end }}{{ $v }}", "1"),
        ("{{ range 3 }}{{ range 3 }}{{ if . }}{{ break }}{{ end }}x{{ end }}{{ end }}", "xxx"),
        ("{{ if false }}a{{ else if false }}b{{ else }}c{{ end }}", "c"),
        # functions as operands, and pipelines into them
        ("{{ eq currentDate yesterdayDate }}", "false"),
        ('{{ "b" | and "a" }} {{ "b" | or "" }}', "b b"),
        ("{{ (index .M `k`).x }}", "1"),
        ("{{ .M.k.x | printf `%d` }}", "1"),
        # comments and spaces
        ("a {{- /* x */}} b", "a b"),
        ("{{/* a */}}{{/* b */ -}} \n c", "c"),
        ("{{\n.M.k.x\n}}", "1"),
        ("{ {{ `}}` }} }", "{ }} }"),
        ("}} {", "}} {"),
    ],
)  # fmt: skip
def test_go_text(source: str, text: str) -> None:
    assert run(source, {"L": ["a", 1], "M": {"k": {"x": 1}}}) == text


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("a\nb {{ if .X }}\n", 3, "the if of line 2 has no end"),
        ("\n\n{{ .X", 3, "unclosed action"),
        ("{{ range .X }}{{ end }}\n{{ end }}", 2, "unexpected {{end}}"),
        ("\n{{ nope 1 }}", 2, "function 'nope' not defined"),
        ("{{ $x }}", 1, "undefined variable '$x'"),
        ("\n{{ (1 }}", 2, "unclosed left paren"),
        ("{{ 1) }}", 1, "unexpected right paren"),
        ("{{ .A | }}", 1, "missing command after |"),
        ("{{ 1 | 2 }}", 1, "non executable command in pipeline stage 2"),
        ("{{ with .A }}{{ else if .B }}{{ end }}", 1, "unexpected {{else if}}"),
        ("{{ if .A }}{{ define `x` }}{{ end }}{{ end }}", 1, "unexpected {{define}}"),
        ("{{ define `x` }}a{{ end }}{{ define `x` }}b{{ end }}", 1, "multiple definitions"),
        ("{{ define x }}{{ end }}", 1, "define needs a name in quotes"),
        ("{{ range $a, $b, $c := .X }}{{ end }}", 1, "cannot set variables like that"),
        ("{{ if $a, $b := .X }}{{ end }}", 1, "cannot set variables like that"),
        ("{{ `a` }}\n{{/* x", 2, "unclosed comment"),
        ("{{ 'ab' }}", 1, "malformed character constant"),
        (r'{{ "\q" }}', 1, "invalid escape"),
        ("{{ 1x }}", 1, "bad number syntax"),
        ("{{ 99999999999999999999 }}", 1, "integer overflow"),
        ("{{ .A.1 }}", 1, "unexpected '.1' in operand"),
        ("{{ true.A }}", 1, "unexpected .A after a value"),
    ],
)
def test_broken_template_is_refused_with_its_line(source: str, line: int, reason: str) -> None:
    with pytest.raises(InvalidTemplate) as raised:
        GoTemplate.read(source)
    assert raised.value.fields["line"] == line
    assert raised.value.message.startswith(f"template error: line {line}: ")
    assert reason in raised.value.message


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a\n{{ .X.Y }}", "line 2: nil has no field 'Y'"),
        ("{{ len 3 }}", "line 1: len of type int"),
        ("{{ len }}", "wrong number of arguments for len: want 1, got 0"),
        ("{{ and }}", "wrong number of arguments for and"),
        ("{{ slice `abc` 2 1 }}", "invalid slice index: 2 > 1"),
        ("{{ index `abc` `a` }}", "cannot index slice with string"),
        ("{{ lt true false }}", "values of type bool have no order"),
        ("{{ printf 1 }}", "expected string; got int"),
        ("{{ call 1 }}", "is not a function"),
        ("{{ range $i, $v := 3 }}{{ end }}", "cannot be ranged over with two variables"),
        ("{{ define `x` }}{{ template `x` . }}{{ end }}{{ template `x` . }}", "deeper than"),
    ],
)
def test_failing_template_is_refused_with_its_line(source: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        run(source)
    assert reason in raised.value.message


def test_the_template_knows_which_fields_it_asks_for() -> None:
    template = GoTemplate.read(
        "{{ $.Messages }}{{ define `x` }}{{ (index .A 0).Deep }}{{ end }}{{ if $x := .B }}{{ end }}"
    )
    assert template.names() == {"messages", "a", "deep", "b"}
