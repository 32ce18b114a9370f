"""Go templates with the messages, tools and texts that Ollama gives them."""

from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import InvalidTemplate
from cama.templates.ollama import OllamaTemplate
from tests.unit.templates.go_cases import CHAT, load, rendered

N_CHAT, N_LIBRARY, N_UPSTREAM = 127, 224, 60


def test_conversations_become_the_recorded_prompts() -> None:
    templates = CHAT["templates"]
    assert len(CHAT["cases"]) == N_CHAT
    wrong = [
        (case["template"], case["case"])
        for case in CHAT["cases"]
        if rendered(templates[case["template"]], case) != case["rendered"]
    ]
    assert wrong == []


def test_templates_of_the_library_make_the_recorded_prompts(shared_data: Path) -> None:
    folder = shared_data / "gotmpl"
    cases = load(folder / "library-chat-cases.json")["cases"]
    assert len(cases) == N_LIBRARY
    wrong = [
        (case["template"], case["case"])
        for case in cases
        if rendered((folder / case["template"]).read_text(), case) != case["rendered"]
    ]
    assert wrong == []


def test_templates_of_the_library_make_their_own_expectations(shared_data: Path) -> None:
    folder = shared_data / "gotmpl"
    cases = load(folder / "cases.json")
    assert len(cases) == N_UPSTREAM
    assert [case for case in cases if not _agrees(folder, case)] == []


def _agrees(folder: Path, case: dict[str, Any]) -> bool:
    """Some recorded texts lack a last space that their template writes."""
    recorded = (folder / "testdata" / case["template"] / case["case"]).read_text()
    texts = [rendered((folder / case["template"]).read_text(), case), case["expected"], recorded]
    if case["drop_one_trailing_space_before_comparing"]:
        texts = [text.removesuffix(" ") for text in texts]
    return len(set(texts)) == 1


def test_a_template_called_without_data_is_refused() -> None:
    with pytest.raises(InvalidTemplate, match="line 2: template 'x' is given no data"):
        OllamaTemplate("{{ define `x` }}{{ end }}\n{{ template `x` }}")


def test_numbers_in_arguments_are_those_of_json() -> None:
    call = {"function": {"name": "f", "arguments": {"n": 1000000, "deep": [1]}}}
    turns = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    source = (
        "{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Arguments.n }} "
        "{{ .Function.Arguments }} {{ json . }}{{ end }}{{ end }}"
    )
    assert OllamaTemplate(source).render(turns) == (
        '1e+06 {"deep":[1],"n":1000000} '
        '{"function":{"index":0,"name":"f","arguments":{"deep":[1],"n":1000000}}}'
    )


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, "false  false"),
        ({"enable_thinking": False}, "false  true"),
        ({"enable_thinking": True}, "true medium true"),
        ({"enable_thinking": True, "think_level": "high"}, "true high true"),
    ],
)
def test_templates_know_how_much_to_think(variables: dict[str, Any], text: str) -> None:
    template = OllamaTemplate("{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}{{ .Response }}")
    assert template.render([{"role": "user", "content": "Hi"}], **variables) == text
