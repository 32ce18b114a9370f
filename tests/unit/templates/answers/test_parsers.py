"""Every parser that Ollama has a name for: an answer in its family's marks, in any pieces."""

from dataclasses import dataclass
from typing import Any

import pytest

from cama.core.answer import ToolCall
from cama.templates.answers.families import answer_format
from cama.templates.answers.formats import AnswerFormat, TaggedFormat
from tests.unit.templates.answers.conftest import Parsed, by_bytes, parsed

WEATHER: dict[str, Any] = {"city": "Zürich 🐪", "days": 3}
NOTES: dict[str, Any] = {"query": 'a "b"', "deep": False, "tags": ["ä", "ö"]}
CALLS = [("get_weather", WEATHER), ("search_notes", NOTES)]

HERMES = (
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich 🐪", "days": 3}}\n'
    '</tool_call>\n<tool_call>\n{"name": "search_notes", "arguments": '
    '{"query": "a \\"b\\"", "deep": false, "tags": ["ä", "ö"]}}\n</tool_call>'
)
ELEMENTS = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nZürich 🐪\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>\n"
    '<tool_call>\n<function=search_notes>\n<parameter=query>\na "b"\n</parameter>\n'
    "<parameter=deep>\nfalse\n</parameter>\n"
    '<parameter=tags>\n["ä", "ö"]\n</parameter>\n</function>\n</tool_call>'
)
GLM = (
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Zürich 🐪</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>\n"
    '<tool_call>search_notes\n<arg_key>query</arg_key>\n<arg_value>a "b"</arg_value>\n'
    "<arg_key>deep</arg_key>\n<arg_value>false</arg_value>\n"
    '<arg_key>tags</arg_key>\n<arg_value>["ä", "ö"]</arg_value>\n</tool_call>'
)
GLM_TIGHT = GLM.replace("get_weather\n", "get_weather").replace("search_notes\n", "search_notes")
GLM_TIGHT = GLM_TIGHT.replace(">\n<", "><")
DEEPSEEK = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
    '{"city": "Zürich 🐪", "days": 3}<｜tool▁call▁end｜>'
    "<｜tool▁call▁begin｜>search_notes<｜tool▁sep｜>"
    '{"query": "a \\"b\\"", "deep": false, "tags": ["ä", "ö"]}<｜tool▁call▁end｜>'
    "<｜tool▁calls▁end｜>"
)
R1 = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
    '```json\n{"city": "Zürich 🐪", "days": 3}\n```<｜tool▁call▁end｜>\n'
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>search_notes\n```json\n"
    '{"query": "a \\"b\\"", "deep": false, "tags": ["ä", "ö"]}\n```<｜tool▁call▁end｜>'
    "<｜tool▁calls▁end｜>"
)
MINISTRAL = (
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Zürich 🐪", "days": 3}'
    '[TOOL_CALLS]search_notes[ARGS]{"query": "a \\"b\\"", "deep": false, "tags": ["ä", "ö"]}'
)
PYTHON = (
    'get_weather(city="Zürich 🐪", days=3){}'
    "search_notes(query='a \"b\"', deep=False, tags=[\"ä\", 'ö'])"
)
LFM = f"<|tool_call_start|>[{PYTHON.format(', ')}]<|tool_call_end|>"
OLMO = f"<function_calls>\n{PYTHON.format(chr(10))}\n</function_calls>"


def gemma(begin: str, end: str, quote: str) -> str:
    q = quote
    return (
        f"{begin}call:get_weather{{city:{q}Zürich 🐪{q},days:3}}{end}"
        f'{begin}call:search_notes{{deep:false,query:{q}a "b"{q},tags:[{q}ä{q},{q}ö{q}]}}{end}'
    )


GEMMA = gemma("<|tool_call>", "<tool_call|>", '<|"|>')
FUNCTION_GEMMA = gemma("<start_function_call>", "<end_function_call>", "<escape>")
HARMONY = (
    "<|channel|>analysis<|message|>Grübel.<|end|>"
    "<|start|>assistant<|channel|>commentary<|message|>Moment – gleich.<|end|>"
    "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
    '{"city": "Zürich 🐪", "days": 3}<|call|>'
    "<|start|>assistant<|channel|>commentary to=functions.search_notes <|constrain|>json<|message|>"
    '{"query": "a \\"b\\"", "deep": false, "tags": ["ä", "ö"]}'
)
SAID, THOUGHT = "Moment – gleich.", "Grübel."


@dataclass(frozen=True)
class Case:
    """``thinks`` is how thoughts are opened and closed, if there are any."""

    calls: str
    thinks: tuple[str, str] | None = None

    @property
    def text(self) -> str:
        if self.calls == HARMONY:
            return HARMONY
        thoughts = f"{self.thinks[0]}{THOUGHT}{self.thinks[1]}" if self.thinks else ""
        return thoughts + SAID + self.calls


THINK = ("<think>", "</think>\n\n")
CASES = {
    "qwen3": Case(HERMES),
    "qwen3-thinking": Case(HERMES, THINK),
    "qwen3-vl-instruct": Case(HERMES),
    "qwen3-vl-thinking": Case(HERMES, THINK),
    "qwen3-coder": Case(ELEMENTS),
    "qwen3.5": Case(ELEMENTS, THINK),
    "nemotron-3-nano": Case(ELEMENTS, THINK),
    "glm-ocr": Case(GLM),
    "glm-4.7": Case(GLM_TIGHT, THINK),
    "cogito": Case(R1, THINK),
    "deepseek3": Case(DEEPSEEK, THINK),
    "ornith": Case(ELEMENTS, THINK),
    "nemotron-3.5-nano": Case(ELEMENTS, THINK),
    "ministral": Case(MINISTRAL, ("[THINK]", "[/THINK]")),
    "olmo3": Case(OLMO),
    "lfm2": Case(LFM),
    "lfm2-thinking": Case(LFM, THINK),
    "gemma4": Case(GEMMA, ("<|channel>thought\n", "<channel|>")),
    "gemma4-no-thinking": Case(GEMMA),
    "functiongemma": Case(FUNCTION_GEMMA),
    "harmony": Case(HARMONY, ("", "")),
}


def wanted(name: str) -> Parsed:
    return SAID, THOUGHT if CASES[name].thinks else "", CALLS


def trimmed(found: Parsed) -> Parsed:
    return found[0].strip(), found[1].strip(), found[2]


@pytest.mark.parametrize("name", CASES)
def test_a_parser_takes_its_familys_answers_apart(name: str) -> None:
    assert trimmed(parsed(answer_format("", name), CASES[name].text)) == wanted(name)


@pytest.mark.parametrize("name", CASES)
def test_a_parser_finds_the_same_wherever_a_byte_ends_a_piece(name: str) -> None:
    form, text = answer_format("", name), CASES[name].text
    whole = parsed(form, text)
    n = len(text.encode())
    for cut in range(n):
        assert parsed(form, *by_bytes(text, cut)) == whole
    assert parsed(form, *by_bytes(text, *range(1, n))) == whole


@pytest.mark.parametrize("name", CASES)
def test_a_parser_keeps_what_breaks_off(name: str) -> None:
    """However short an answer is cut, calls are those that were whole, and all else is text."""
    form, text = answer_format("", name), CASES[name].text
    for end in range(len(text)):
        said, thoughts, calls = parsed(form, text[:end])
        if name == "harmony" and calls and not calls[-1][1]:
            calls.pop()  # one without arguments may be meant
        assert calls == CALLS[: len(calls)]
        assert SAID not in text[:end] or SAID in said + thoughts
        if isinstance(form, TaggedFormat) and not calls:
            marks = len(f"{form.tags.open}{form.tags.close}") if form.tags else 0
            n_left = len("".join(f"{said}{thoughts}".split()))
            assert n_left >= len("".join(text[:end].split())) - marks


@pytest.mark.parametrize("name", CASES)
def test_a_parser_gives_calls_back_as_text_where_there_are_no_tools(name: str) -> None:
    text = CASES[name].text
    said, _, calls = parsed(answer_format("", name), text, tools={})
    assert not calls or name == "harmony"
    assert SAID in said
    assert name == "harmony" or "search_notes" in said


def test_a_parser_of_thoughts_alone() -> None:
    form = answer_format("", "olmo3-think")
    assert (form.thinks, form.calls_tools) == (True, False)
    assert trimmed(parsed(form, f"<think>{THOUGHT}</think>{OLMO}")) == (OLMO, THOUGHT, [])


def test_a_parser_that_passes_everything_on() -> None:
    form = answer_format("<tool_call> <think></think>", "passthrough")
    text = f"<think>{THOUGHT}</think>{HERMES}"
    assert parsed(form, text) == (text, "", [])


@pytest.mark.parametrize("name", ["nobody-knows", ""])
def test_a_parser_that_nobody_knows_is_ignored(name: str) -> None:
    assert answer_format("<tool_call>", name) == answer_format("<tool_call>")


def test_olmo_writes_a_call_on_each_line() -> None:
    form: AnswerFormat = answer_format("<function_calls>")
    calls = [ToolCall(name, arguments) for name, arguments in CALLS]
    text = form.written(calls)
    assert text.count("\n") == 1
    assert "[get_weather" not in text
    assert parsed(form, text)[2] == CALLS


JSON = [
    '{{"name": "get_weather", "{0}": {{"city": "Zürich 🐪", "days": 3}}}}',
    '{{"name": "search_notes", "{0}": '
    '{{"query": "a \\"b\\"", "deep": false, "tags": ["ä", "ö"]}}}}',
]
PARAMETERS, ARGUMENTS = ([text.format(key) for text in JSON] for key in ("parameters", "arguments"))
COMMANDS = [text.replace('"name"', '"tool_name"') for text in PARAMETERS]
WITHOUT_NAMES = {
    "<|start_header_id|> tools": "; ".join(PARAMETERS),
    "<|start_header_id|> tools <|python_tag|>": f"<|python_tag|>{'; '.join(PARAMETERS)}",
    "<|header_start|> tools": f"[{PYTHON.format(', ')}]",
    "<|CHATBOT_TOKEN|> Action:": f"Action: ```json\n[\n{', '.join(COMMANDS)}\n]\n```",
    "<|START_ACTION|>": f"<|START_ACTION|>[\n{', '.join(COMMANDS)}\n]<|END_ACTION|>",
    "<｜tool▁calls▁begin｜> ```json": R1,
    "[TOOL_CALLS]": f"[TOOL_CALLS][{', '.join(ARGUMENTS)}]",
    "[TOOL_CALLS] [ARGS]": MINISTRAL,
    ".Tools": f"[{', '.join(ARGUMENTS)}]",
    "tools tool_calls": "\n".join(ARGUMENTS),
    "<TOOLCALL>": f"<TOOLCALL>[{', '.join(ARGUMENTS)}]</TOOLCALL>",
}
"""Families that no parser is named after, by what their templates contain."""


@pytest.mark.parametrize("template", WITHOUT_NAMES)
def test_a_family_is_known_by_its_template(template: str) -> None:
    form, text = answer_format(template), WITHOUT_NAMES[template]
    assert trimmed(parsed(form, text)) == ("", "", CALLS)
    n = len(text.encode())
    for cut in range(n):
        assert trimmed(parsed(form, *by_bytes(text, cut))) == ("", "", CALLS)
    assert trimmed(parsed(form, *by_bytes(text, *range(1, n)))) == ("", "", CALLS)
