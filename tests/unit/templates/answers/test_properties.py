"""Whatever a model says, and however it is cut."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from cama.templates.answers.families import answer_format
from cama.templates.answers.formats import AnswerFormat
from tests.unit.templates.answers.conftest import parsed

TEMPLATES = [
    "<tool_call> <think></think>",
    "<tool_call> <function= <parameter=",
    "<|start_header_id|> tools <|python_tag|>",
    "<arg_key> <think></think>",
    "<|tool_call>call: <|channel>thought <channel|>",
    "<|tool_call_start|>",
    "<｜tool▁calls▁begin｜> <think></think>",
    "｜DSML｜",
    "<|tool_calls_section_begin|>",
    "[TOOL_CALLS] [ARGS]",
    "[TOOL_CALLS]",
    "<|START_ACTION|><|START_THINKING|><|END_THINKING|>",
    ".Tools",
    "<|channel|> <|message|>",
]
FORMS = [answer_format(template) for template in TEMPLATES]

PARTS = [
    "<tool_call>", "</tool_call>", "<function=now>", "<parameter=a>", "</parameter>", "</function>",
    '{"name": "now", "arguments": {"a": 1}}', '{"name": "now", "parameters": {}}', '{"a": "', '"}',
    "<|python_tag|>", "now", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "call:now{",
    "}", "<|tool_call>", "<tool_call|>", "[now(a=1)]", "<|tool_call_start|>", "<|tool_call_end|>",
    "[TOOL_CALLS]", "[ARGS]", "[", "]", "<|START_ACTION|>", "<|END_ACTION|>", "<think>", "</think>",
    "<|START_RESPONSE|>", "<|channel|>", "final", "analysis", "<|message|>", "<|end|>", "<|start|>",
    " to=functions.now", "<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁calls▁end｜>", "\n",
    " ", " " * 70, "\\", '"', "<", "<|", ";",
]  # fmt: skip

answers = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=5)), max_size=25).map("".join)


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize("form", FORMS, ids=TEMPLATES)
@given(text=answers, places=st.lists(st.integers(0, 1000), max_size=8), is_open=st.booleans())
@settings(max_examples=50, deadline=None)
def test_cuts_change_nothing(
    form: AnswerFormat, text: str, places: list[int], is_open: bool
) -> None:
    prompt = "<think>\n" if is_open else ""
    whole = parsed(form, text, prompt=prompt)
    assert parsed(form, *cut(text, places), prompt=prompt) == whole
    assert parsed(form, *text, prompt=prompt) == whole


@pytest.mark.parametrize("form", FORMS[:-1], ids=TEMPLATES[:-1])
@given(text=answers)
@settings(max_examples=50, deadline=None)
def test_an_answer_without_calls_and_thoughts_stays_as_it_is(form: AnswerFormat, text: str) -> None:
    said, thoughts, calls = parsed(form, text)
    if not calls and not thoughts and "<think>" not in text and "_RESPONSE|>" not in text:
        assert said == text


@pytest.mark.parametrize("template", ["<tool_call>", "[TOOL_CALLS] [ARGS]", "<arg_key>"])
@given(text=st.text(max_size=200))
def test_text_comes_out_at_once_but_for_what_may_be_a_mark(template: str, text: str) -> None:
    parser = answer_format(template).parser({"now": {}}, "", reads_calls=True)
    shown = "".join(parser.feed(character).text for character in text)
    assert text.startswith(shown)
    assert len(text.rstrip()) - len(shown) <= len("[TOOL_CALLS]")
