"""Formats that are known, told from what a Jinja template writes."""

import json
from pathlib import Path

import pytest

from cama.templates.formats import FORMATS
from cama.templates.ollama import OllamaTemplate
from cama.templates.recognition import Recognized, recognized
from tests.unit.templates.go_cases import load

N_DETECTED, N_INDEX = 35, 37
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALK = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "A"},
    {"role": "assistant", "content": "B"},
    {"role": "user", "content": "C"},
]


def test_detected_templates_are_recognized(shared_data: Path) -> None:
    lines = (shared_data / "gotmpl" / "detect.jsonl").read_text().splitlines()
    cases = [(name, source) for line in lines for name, source in json.loads(line).items()]
    assert len(cases) == N_DETECTED
    assert [name for name, source in cases if name_of(source) != name] == []


def test_known_templates_are_recognized(shared_data: Path) -> None:
    entries = load(shared_data / "gotmpl" / "index.json")
    assert len(entries) == N_INDEX
    assert [e["name"] for e in entries if name_of(e["template"]) != e["name"]] == []


def name_of(source: str) -> str:
    found = recognized(source)
    return found.name if found else ""


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen-Qwen3-0.6B", "chatml"),
        ("meta-llama-Llama-3.1-8B-Instruct", "llama3-instruct"),
        ("google-gemma-2-2b-it", "gemma-instruct"),
        ("mistralai-Mistral-Nemo-Instruct-2407", "mistral-instruct"),
        ("openai-gpt-oss-120b", ""),
        ("deepseek-ai-DeepSeek-V3.1", ""),
        ("google-gemma-4-31B-it", ""),
        ("moonshotai-Kimi-K2", ""),
    ],
)
def test_newer_templates_are_recognized_by_their_turns(
    shared_data: Path, model: str, name: str
) -> None:
    assert name_of((shared_data / "chat-templates" / f"{model}.jinja").read_text()) == name


def test_stop_strings_are_those_of_the_library(shared_data: Path) -> None:
    folder = shared_data / "gotmpl"
    stops = {name: list(known.stop) for name, known in FORMATS.items()}
    assert stops == {
        p.stem: load(folder / f"{p.stem}.json")["stop"] for p in folder.glob("*.gotmpl")
    }


def test_a_text_that_a_template_brings_by_itself_is_not_of_the_format() -> None:
    assert recognized(CHATML) == Recognized("chatml", is_exact=True)
    assert recognized("<|im_start|>system\nBe kind.<|im_end|>\n" + CHATML) == Recognized(
        "chatml", is_exact=True
    )


@pytest.mark.parametrize("source", ["", "{{ broken", "{{ raise_exception('no') }}", "text"])
def test_what_writes_no_conversation_is_not_recognized(source: str) -> None:
    assert recognized(source) is None


def test_other_white_space_is_recognized_but_not_exact() -> None:
    assert recognized(CHATML.replace("\n", "")) == Recognized("chatml", is_exact=False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llama2-chat", "[INST] <<SYS>>\nS\n<</SYS>>\n\nA [/INST] B</s><s>[INST] C [/INST]"),
        ("mistral-instruct", "[INST] S\n\nA[/INST] B</s>[INST] C[/INST]"),
        (
            "gemma3-instruct",
            "<start_of_turn>user\nS\n\nA<end_of_turn>\n<start_of_turn>model\nB<end_of_turn>\n"
            "<start_of_turn>user\nC<end_of_turn>\n<start_of_turn>model\n",
        ),
        ("vicuna", "S\n\nUSER: A\nASSISTANT: B</s>\nUSER: C\nASSISTANT:"),
        ("alfred", "<start_system>S<end_message><start_user>A<end_message><start_assistant>B"
         "<end_message><start_user>C<end_message><start_assistant>"),
    ],
)  # fmt: skip
def test_formats_have_templates(name: str, text: str) -> None:
    assert OllamaTemplate(FORMATS[name].template).render(TALK) == text


def test_formats_write_what_the_library_writes(shared_data: Path) -> None:
    """Those left out differ on purpose: the library's write an empty system text, a closing mark
    twice, and a line break at the end."""
    cases = load(shared_data / "gotmpl" / "cases.json")
    odd = {"llama2-chat.gotmpl", "command-r.gotmpl", "gemma3-instruct.gotmpl"}
    for case in cases:
        name = case["template"].removesuffix(".gotmpl")
        made = OllamaTemplate(FORMATS[name].template).render(case["messages"])
        assert case["template"] in odd or made.rstrip(" ") == case["expected"].rstrip(" ")
