"""Answers that look like calls, and hostile ones: nothing is lost, nothing raised."""

import time

import pytest

from cama.templates.answers.families import answer_format
from cama.templates.answers.formats import AnswerFormat
from tests.unit.templates.answers.conftest import parsed

HERMES = answer_format("<tool_call> <think></think>")
CODER = answer_format("<tool_call> <function= <parameter=")
LLAMA = answer_format("<|start_header_id|> tools <|python_tag|>")
GLM = answer_format("<arg_key>")
GEMMA = answer_format("<|tool_call>call:")
LFM = answer_format("<|tool_call_start|>")
DEEPSEEK = answer_format("<｜tool▁calls▁begin｜>")
MISTRAL = answer_format("[TOOL_CALLS] [ARGS]")
HARMONY = answer_format("<|channel|> <|message|>")
EVERY = [HERMES, CODER, LLAMA, GLM, GEMMA, LFM, DEEPSEEK, MISTRAL]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (HERMES, "<tool_call>not JSON</tool_call> and more"),
        (HERMES, '<tool_call>{"name": "now", "arguments": 5}</tool_call>'),
        (HERMES, '<tool_call>{"arguments": {}}</tool_call>'),
        (HERMES, '<tool_call>{"name": "now", "arguments": {"a": NaN}}</tool_call>'),
        (HERMES, '<tool_call>{"name": "now", "arguments": {"a": 1e999}}</tool_call>'),
        (HERMES, '<tool_call>{"name": "now", "argum'),
        (HERMES, "<tool_call>"),
        (HERMES, "a \n<tool_"),
        (HERMES, "1 <\n\n"),
        (HERMES, "<tool_call>" * 50),
        (HERMES, "<tool_call>\n{} </tool_call>\n<tool_call>[]</tool_call>  "),
        (CODER, "<tool_call><function=now>"),
        (CODER, "<tool_call><function=now><parameter=a>1</tool_call>"),
        (CODER, "<tool_call>now()</tool_call>"),
        (LLAMA, '{"city": "Oslo"}'),
        (LLAMA, '{"name": "unknown", "parameters": {}}'),
        (LLAMA, '  {"name": "now", "parameters"'),
        (LLAMA, '{"a": 1} is what you asked for: {"name": "now", "parameters": {}}'),
        (GLM, "<tool_call>now<arg_key>a</arg_key></tool_call>"),
        (GEMMA, "<|tool_call>call:now{a:}<tool_call|>"),
        (GEMMA, '<|tool_call>call:now{a:<|"|>x<tool_call|>'),
        (LFM, "<|tool_call_start|>[now(1 + 1)]<|tool_call_end|>"),
        (LFM, "<|tool_call_start|>[]<|tool_call_end|>"),
        (LFM, "<|tool_call_start|>__import__('os').system('x')<|tool_call_end|>"),
        (DEEPSEEK, "<｜tool▁calls▁begin｜>now<｜tool▁calls▁end｜>"),
        (MISTRAL, "[TOOL_CALLS]now[ARGS]"),
        (MISTRAL, "[TOOL_CALLS] see [1] and [2]"),
    ],
)
def test_what_is_no_call_is_text(form: AnswerFormat, text: str) -> None:
    assert parsed(form, text) == (text, "", [])
    assert parsed(form, *text) == (text, "", [])


@pytest.mark.parametrize(
    ("form", "text", "call"),
    [
        (HERMES, '<tool_call>{"name": "now", "arguments": {}}', {}),
        (HERMES, '<tool_call>{"name": "now", "arguments": "{\\"a\\": 1}"}</tool_call>', {"a": 1}),
        (HERMES, '<tool_call>{"name": "now", "parameters": {"a": 1}}</tool_call>', {"a": 1}),
        (HERMES, '<tool_call>{"name": "now"}</tool_call>', {}),
        (HERMES, '<tool_call>{"name": "now", "arguments": null}</tool_call>', {}),
        (HERMES, '<tool_call>```json\n{"name": "now"}\n```</tool_call>', {}),
        (HERMES, '<tool_call>{"name": "now", "arguments": {"a": "</tool_call>"}}</tool_call>',
         {"a": "</tool_call>"}),
        (CODER, "<tool_call><function=now>\n<parameter=a>\n</tool_call>\n</parameter>\n</function>"
                "</tool_call>", {"a": "</tool_call>"}),
        (CODER, "<tool_call><function=now>\n<parameter=a>\n{\"b\": [1]}\n</parameter></function>\n"
                "</tool_call>", {"a": {"b": [1]}}),
        (LLAMA, '<|python_tag|>{"name": "now", "parameters": {"a": 1}}', {"a": 1}),
        (LFM, "<|tool_call_start|>[now(a='it\\'s', b=[True, None, -1.5])]<|tool_call_end|>",
         {"a": "it's", "b": [True, None, -1.5]}),
        (DEEPSEEK, '<｜tool▁call▁begin｜>now<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜>', {"a": 1}),
        (MISTRAL, '[TOOL_CALLS]now[ARGS]{"a": "]}"}', {"a": "]}"}),
    ],
)  # fmt: skip
def test_what_a_model_means_is_understood(
    form: AnswerFormat, text: str, call: dict[str, object]
) -> None:
    assert parsed(form, text) == ("", "", [("now", call)])
    assert parsed(form, *text) == ("", "", [("now", call)])


def test_a_call_is_found_behind_one_that_was_given_up() -> None:
    text = 'Hm.\n<tool_call>{"na\n<tool_call>{"name": "now"}</tool_call> Done.'
    said, _, calls = parsed(HERMES, text)
    assert calls == [("now", {})]
    assert said.startswith('Hm.\n<tool_call>{"na')


def test_several_bare_calls_are_several() -> None:
    one = '{"name": "now", "parameters": {}}'
    assert parsed(LLAMA, f"{one}; {one}\n{one}")[2] == [("now", {})] * 3


def test_arguments_are_read_as_their_schema_says() -> None:
    text = (
        "<tool_call>search_notes\n<arg_key>query</arg_key>\n<arg_value>42</arg_value>\n"
        "<arg_key>deep</arg_key>\n<arg_value>True</arg_value>\n"
        '<arg_key>tags</arg_key>\n<arg_value>["a"]</arg_value>\n</tool_call>'
    )
    assert parsed(GLM, text)[2] == [("search_notes", {"query": "42", "deep": True, "tags": ["a"]})]


def test_no_calls_are_looked_for_without_tools() -> None:
    text = '<tool_call>{"name": "now"}</tool_call>'
    assert parsed(HERMES, text, tools={}) == (text, "", [])


@pytest.mark.parametrize("form", EVERY)
@pytest.mark.parametrize(
    "unit",
    ["[", '{"a":', '{"name": "now", "arguments": ', "<tool_call>", "</tool_call>", '"\\',
     "call:now{a:", "now(a=", " \n", "<parameter=a>", "<|tool_call>", "<|tool_call_start|>[",
     "[TOOL_CALLS]now[ARGS]{", "<arg_key>a</arg_key>", "<｜tool▁calls▁begin｜>"],
)  # fmt: skip
def test_endless_repetitions_take_no_endless_time(form: AnswerFormat, unit: str) -> None:
    opened = next(mark for mark in form.marks if "think" not in mark)
    n = 100_000 // len(unit)
    started = time.perf_counter()
    said, thoughts, calls = parsed(form, opened, *[unit * 10] * (n // 10))
    assert time.perf_counter() - started < 10
    assert (thoughts, calls) == ("", [])
    assert len(said.strip()) > n // 2 * len(unit) or not unit.strip()


def test_a_block_of_megabytes_becomes_text() -> None:
    text = '<tool_call>{"name": "now", "arguments": {"a": "' + "x" * (5 << 20)
    chunks = [text[i : i + 100_000] for i in range(0, len(text), 100_000)]
    assert parsed(HERMES, *chunks) == (text, "", [])


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi",
         ("Hi", "Hm.", [])),
        ('<|channel|>commentary to=functions.now <|constrain|>json<|message|>{"a": 1}',
         ("", "", [("now", {"a": 1})])),
        (' to=functions.now<|channel|>commentary json<|message|>{"a": 1}<|call|>',
         ("", "", [("now", {"a": 1})])),
        ("<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant<|channel|>"
         "commentary to=functions.now<|message|>{}", ("I will look.", "", [("now", {})])),
        ("<|channel|>commentary to=functions.now<|message|>{oops", ("{oops", "", [])),
        ("Just text", ("Just text", "", [])),
        ("<|channel|>analysis<|message|>Hm. <|mess", ("", "Hm. <|mess", [])),
        ("<|channel|>final<|message|>a <|b", ("a <|b", "", [])),
        ("total: 3", ("total: 3", "", [])),
    ],
)  # fmt: skip
def test_harmony(text: str, result: object) -> None:
    assert parsed(HARMONY, text) == result
    assert parsed(HARMONY, *text) == result
