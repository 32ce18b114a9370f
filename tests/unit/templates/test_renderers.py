"""Built-in renderers: prompts equal those of the family's own template where there is one."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cama.core.answer import ToolCall
from cama.core.errors import InvalidRequest
from cama.templates.answers.families import answer_format
from cama.templates.answers.formats import TaggedFormat
from cama.templates.prompt import render_prompt
from cama.templates.renderers import deepseek, gemma, lfm, qwen
from cama.templates.renderers.table import RENDERERS, BuiltIn, default_parser
from cama.templates.renderers.talk import Talk
from cama.wire.requests import Message
from tests.unit.templates.answers.conftest import TOOLS, by_bytes, parsed

SAME: Mapping[str, tuple[Callable[[Talk], str], str]] = {
    "Qwen-Qwen3-0.6B": (qwen.hermes, ""),
    "Qwen3-Coder": (qwen.coder, ""),
    "google-gemma-4-31B-it": (
        partial(gemma.gemma4, thoughtless="<|channel>thought\n<channel|>"),
        "",
    ),
    # its template has no place for tools
    "deepseek-ai-DeepSeek-V3.1": (deepseek.deepseek, "tools"),
    # theirs drop the calls of earlier answers
    "LFM2-8B-A1B": (lfm.lfm2, "tool_calls"),
    "LFM2.5-Instruct": (lfm.lfm2_thinking, "tool_calls"),
}
"""Templates with their renderer, and what the template leaves out."""

RENEWED = {
    ("google-gemma-4-31B-it", "nested_arguments"),
    ("google-gemma-4-31B-it", "reasoning_closed"),
}
"""What later versions of a template write in another way."""

CASES = json.loads((Path(__file__).parent / "data" / "renderer-cases.json").read_text())


def is_ours(case: dict[str, Any], missing: str) -> bool:
    """Whether a conversation can come through the API: texts are texts, arguments objects."""
    texts = all(isinstance(m["content"], str) for m in case["messages"])
    left_out = missing and any(m.get(missing) for m in case["messages"])
    return (
        texts
        and not left_out
        and "string_arguments" not in case["name"]
        and case["name"] != "unknown_role"
        and "rendered" in case
    )


@pytest.mark.parametrize("name", SAME)
def test_renderer_equals_the_familys_template(shared_data: Path, name: str) -> None:
    render, missing = SAME[name]
    golden = json.loads((shared_data / "chat-templates" / "golden" / f"{name}.json").read_text())
    cases = [case for case in golden["cases"] if is_ours(case, missing)]
    assert len(cases) >= 19
    for case in cases:
        talk = Talk(
            turns=case["messages"],
            tools=() if missing == "tools" else case["tools"] or (),
            thinks=case["extra"].get("enable_thinking"),
            goes_on=case["add_generation_prompt"],
            bos=golden["bos_token"],
        )
        if (name, case["name"]) in RENEWED:
            continue
        # DeepSeek's own tokenizer opens no thoughts where there are none
        wanted = case["rendered"].replace(
            "<｜Assistant｜><think></think>", "<｜Assistant｜></think>"
        )
        assert (case["name"], render(talk)) == (case["name"], wanted)


@pytest.mark.parametrize("conversation", CASES["conversations"])
@pytest.mark.parametrize("name", CASES["prompts"])
def test_renderer_writes_what_its_family_was_trained_on(name: str, conversation: str) -> None:
    talk = CASES["conversations"][conversation]
    prompt = BuiltIn(name, "<bos>").render(
        talk["messages"], tools=talk["tools"] or None, enable_thinking=talk["think"]
    )
    assert prompt == CASES["prompts"][name][conversation]


def tool(name: str) -> dict[str, Any]:
    function = {"name": name, "description": f"The {name}.", "parameters": TOOLS[name]}
    return {"type": "function", "function": function}


OFFERED = [tool(name) for name in TOOLS]
CALLS = (
    ToolCall("get_weather", {"city": "Zürich", "days": 3}, "call_1"),
    ToolCall("search_notes", {"query": 'a "b"', "deep": False, "tags": ["ä"]}, "call_2", 1),
)
ASKED = [Message(role="system", content="Be brief."), Message(role="user", content="Weather?")]
THINKERS = {"olmo3-think", "olmo3-32b-think"}
"""They know no tools."""

KEEPERS = {"glm-4.7", "glm-ocr", "ornith", "qwen3.8"}
"""They are shown the thoughts of earlier turns."""

CALLED = Message(role="assistant", content="Let me see.", tool_calls=CALLS)
RESULTS = [
    Message(role="tool", content="sunny", tool_name="get_weather", tool_call_id="call_1"),
    Message(role="tool", content="[]", tool_name="search_notes", tool_call_id="call_2"),
]


ENDS = (
    "<|im_end|>", "<｜end▁of▁sentence｜>", "<|observation|>", "<|tool_response>",
    "<start_function_response>",
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in RENDERERS if name not in THINKERS])
def test_calls_that_a_renderer_writes_are_read_by_its_parser(name: str) -> None:
    form = answer_format("", default_parser(name))
    assert isinstance(form, TaggedFormat)
    prompt = render_prompt(BuiltIn(name), [*ASKED, CALLED, *RESULTS], tools=OFFERED)
    answer = prompt.partition("Weather?")[2]
    marks = ["Let me see.", *(mark for one in form.forms for mark in one.opens)]
    answer = answer[min(answer.index(mark) for mark in marks if mark in answer) :]
    ends = [answer.index(end) for end in ENDS if end in answer]
    answer = answer[: min(ends)]
    whole = parsed(form, answer)
    assert whole[2] == [(c.name, c.arguments) for c in CALLS]
    n = len(answer.encode())
    for cuts in (*((cut,) for cut in range(n)), range(1, n)):
        assert parsed(form, *by_bytes(answer, *cuts)) == whole
    assert "Let me see." in prompt
    assert "sunny" in prompt


@pytest.mark.parametrize("name", RENDERERS)
def test_a_renderer_continues_an_answer_that_was_begun(name: str) -> None:
    begun = Message(role="assistant", content="It will")
    for thinks in (None, True, False):
        prompt = render_prompt(BuiltIn(name), [*ASKED, begun], enable_thinking=thinks)
        assert prompt.endswith("It will")
        assert "Weather?" in prompt


@pytest.mark.parametrize("name", RENDERERS)
def test_a_renderer_takes_any_conversation(name: str) -> None:
    """Odd orders of roles, no texts, tools without a schema: never a failure."""
    strange = [
        [],
        [Message(role="assistant", content="")],
        [Message(role="tool", content="")],
        [*RESULTS, CALLED],
        [Message(role="nobody", content="x")],
        [*ASKED, *ASKED, CALLED, CALLED, *RESULTS, *ASKED],
    ]
    bare = [{"type": "function", "function": {"name": "f"}}, {"function": {"name": "g"}}]
    for messages in strange:
        for tools in (None, [], bare, OFFERED):
            for thinks in (None, True, False):
                assert isinstance(
                    render_prompt(BuiltIn(name), messages, tools=tools, enable_thinking=thinks), str
                )


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize(
    "parameters", [{"properties": {"a": 5}}, {"properties": []}, {"required": 7}, "text", [1]]
)
def test_a_renderer_refuses_tools_that_it_cannot_write(name: str, parameters: object) -> None:
    function = {"name": "f", "description": "d", "parameters": parameters}
    text = ""
    with suppress(InvalidRequest):  # and nothing else
        text = BuiltIn(name).render(SHORT, tools=[{"type": "function", "function": function}])
    assert not text or "U" in text


SHORT = [{"role": "user", "content": "U"}]
LONGER = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U"},
    {"role": "assistant", "content": "A", "reasoning_content": "T"},
    {"role": "user", "content": "V"},
]
F: dict[str, Any] = {"type": "function", "function": {"name": "f", "description": "d"}}


@pytest.mark.parametrize(
    ("name", "thinks", "end"),
    [
        ("qwen3-vl-instruct", None, "<|im_start|>assistant\n"),
        ("qwen3-vl-thinking", None, "<|im_start|>assistant\n<think>\n"),
        ("qwen3.5", None, "<|im_start|>assistant\n<think>\n"),
        ("qwen3.5", False, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        ("nemotron-3-nano", None, "<|im_start|>assistant\n<think>\n"),
        ("nemotron-3-nano", False, "<|im_start|>assistant\n<think></think>"),
        ("cogito", True, "<｜User｜>V<｜Assistant｜><think>\n"),
        ("cogito", None, "<｜User｜>V<｜Assistant｜>"),
        ("deepseek3.1", True, "<｜User｜>V<｜Assistant｜><think>"),
        ("deepseek3.1", None, "<｜User｜>V<｜Assistant｜></think>"),
        ("olmo3", None, "<|im_start|>assistant\n"),
        ("olmo3-think", None, "<|im_start|>assistant\n<think>"),
        ("gemma4", True, "<|turn>model\n"),
        ("gemma4", None, "<|turn>model\n"),
        ("gemma4-large", None, "<|turn>model\n<|channel>thought\n<channel|>"),
        ("functiongemma", None, "<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n"),
        ("glm-4.7", None, "<|user|>V<|assistant|><think>"),
        ("glm-4.7", False, "<|user|>V<|assistant|></think>"),
        ("glm-ocr", None, "<|user|>\nV<|assistant|>\n"),
        ("glm-ocr", False, "<|user|>\nV/nothink<|assistant|>\n<think></think>\n"),
        ("lfm2", None, "<|im_start|>assistant\n"),
    ],
)
def test_a_renderer_opens_the_next_answer(name: str, thinks: bool | None, end: str) -> None:
    prompt = BuiltIn(name, "<bos>").render(LONGER, enable_thinking=thinks)
    assert prompt.endswith(end)
    assert ("T" in prompt) == (name in KEEPERS), "of others old thoughts are left out"


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("glm-4.7", "[gMASK]<sop><|user|>U<|assistant|><think>"),
        ("functiongemma", "<bos><start_of_turn>user\nU<end_of_turn>\n<start_of_turn>model\n"),
        (
            "olmo3",
            "<|im_start|>system\nYou are a helpful function-calling AI assistant. You do not "
            "currently have access to any functions. <functions></functions><|im_end|>\n"
            "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "nemotron-3-nano",
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nU<|im_end|>\n"
            "<|im_start|>assistant\n<think>\n",
        ),
    ],
)
def test_a_renderer_of_a_short_question(name: str, prompt: str) -> None:
    assert BuiltIn(name, "<bos>").render(SHORT) == prompt


def test_functiongemma_is_told_of_functions_once() -> None:
    told = "You can do function calling with the following functions:"
    system = {"role": "system", "content": told}
    prompt = BuiltIn("functiongemma").render([system, *SHORT], tools=[F])
    assert prompt.count(told) == 1
    assert f"developer\n{told}<start_function_declaration>declaration:f{{" in prompt


@pytest.mark.parametrize(
    ("asked", "thinks", "begun"),
    [
        ("/think", False, "<think>\n"),
        ("/no_think", True, "<think></think>"),
        ("</think>", False, "<think></think>"),
    ],
)
def test_nemotron_is_switched_by_what_is_asked(asked: str, thinks: bool, begun: str) -> None:
    turns = [{"role": "user", "content": f"{asked} Hi"}]
    prompt = BuiltIn("nemotron-3-nano").render(turns, enable_thinking=thinks)
    assert prompt.endswith(f"<|im_start|>assistant\n{begun}")
    assert (asked in prompt) == (asked == "</think>")
    later = BuiltIn("nemotron-3.5-nano").render(turns, enable_thinking=thinks)
    assert asked in later
    assert later.endswith("<think>\n") == thinks


@pytest.mark.parametrize(
    ("name", "level", "text"),
    [
        ("qwen3.8", "low", "Reasoning effort is set to low."),
        ("qwen3.8", "max", "Reasoning effort is set to xhigh."),
        ("nemotron-3.5-nano", "medium", "U\n\n{reasoning effort: efficient}<|im_end|>"),
    ],
)
def test_a_renderer_says_how_hard_to_think(name: str, level: str, text: str) -> None:
    prompt = BuiltIn(name).render(SHORT, enable_thinking=True, think_level=level)
    assert text in prompt
    assert text not in BuiltIn(name).render(SHORT, enable_thinking=True)


def test_results_without_ids_belong_to_calls_in_their_order() -> None:
    calls: list[Any] = [{"function": {"name": name}} for name in ("first", "second")]
    turns: list[dict[str, Any]] = [
        *SHORT,
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2", "name": "other"},
    ]
    prompt = BuiltIn("gemma4").render(turns)
    assert 'response:first{value:<|"|>1<|"|>}' in prompt
    assert 'response:other{value:<|"|>2<|"|>}' in prompt


@pytest.mark.parametrize("name", [name for name in RENDERERS if name not in THINKERS])
def test_a_renderer_names_the_tools(name: str) -> None:
    named = {"function": {**F["function"], "name": "quite_peculiar"}}
    assert "quite_peculiar" in BuiltIn(name).render(SHORT, tools=[named])
