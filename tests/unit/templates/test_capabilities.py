"""What a template has a place for, in both languages."""

from pathlib import Path

import pytest

from cama.templates.answers.formats import TaggedFormat
from cama.templates.answers.tagged import Tags
from cama.templates.capabilities import answers_of, capabilities, thinking_tags
from cama.templates.gotmpl.template import GoTemplate
from tests.unit.templates.go_cases import CHAT

MUSING = (
    "{{ range .Messages }}{{ .Role }}{{ if .Thinking }} <hm> {{ .Thinking }} </hm> {{ end }}"
    "{{ .Content }}{{ end }}"
)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ .Prompt }}", ()),
        ("{{ $.Tools }}{{ .Messages }}", ("tools",)),
        ("{{ .Suffix }}", ("insert",)),
        ("{{ define `x` }}{{ .Suffix }}{{ end }}{{ .Prompt }}", ("insert",)),
        ("{{ $.Tools }}{{ .Suffix }}" + MUSING, ("tools", "insert", "thinking")),
        ("{{ broken", ()),
    ],
)
def test_go_template_tells_what_it_has_a_place_for(source: str, names: tuple[str, ...]) -> None:
    assert capabilities("go", source).names == names


@pytest.mark.parametrize(
    ("template", "tools", "round_trip"),
    [("own-chatml-tools", True, True), ("own-ts-tools", True, False), ("own-legacy", False, False)],
)
def test_go_template_tells_whether_calls_come_back(
    template: str, tools: bool, round_trip: bool
) -> None:
    can = capabilities("go", CHAT["templates"][template])
    assert (can.tools, can.round_trip) == (tools, round_trip)


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        (MUSING, ("<hm>", "</hm>")),
        (MUSING.replace("range .Messages", "range $i, $m := .Messages"), ("<hm>", "</hm>")),
        (MUSING.replace("range .Messages", "range $.Messages"), ("<hm>", "</hm>")),
        ("{{ range .Messages }}{{ if .Thinking }}{{ .Thinking }}{{ end }}{{ end }}", None),
        ("<a>{{ .Thinking }}</a>", None),
    ],
)
def test_thoughts_are_between_the_texts_around_them(
    source: str, tags: tuple[str, str] | None
) -> None:
    assert thinking_tags(GoTemplate.read(source)) == tags


def test_answers_are_read_with_the_tags_of_a_go_template() -> None:
    own, known = answers_of("go", MUSING), answers_of("go", MUSING.replace("hm>", "think>"))
    assert isinstance(own, TaggedFormat)
    assert isinstance(known, TaggedFormat)
    assert (own.tags, known.tags) == (Tags("<hm>", "</hm>"), Tags("<think>", "</think>"))


def test_parser_of_the_configuration_counts() -> None:
    assert capabilities("jinja", "{{ messages }}").names == ()
    assert capabilities("jinja", "{{ messages }}", "qwen3-thinking").names == ("tools", "thinking")


def test_jinja_templates_tell_what_they_have_a_place_for(shared_data: Path) -> None:
    folder = shared_data / "chat-templates"
    found = {
        path.stem: capabilities("jinja", path.read_text()).names for path in folder.glob("*.jinja")
    }
    assert found["Qwen-Qwen3-0.6B"] == ("tools", "thinking")
    assert found["Qwen-Qwen2.5-7B-Instruct"] == ("tools",)
    assert found["google-gemma-2-2b-it"] == ()
    assert found["openai-gpt-oss-120b"] == ("tools", "thinking")
