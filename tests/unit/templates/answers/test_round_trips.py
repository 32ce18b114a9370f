"""Conversations written by real templates, and their answers taken apart again."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cama.core.answer import ToolCall
from cama.core.errors import InvalidRequest
from cama.templates.answers.families import answer_format
from cama.templates.answers.formats import AnswerFormat
from cama.templates.jinja import ChatTemplate
from tests.unit.templates.answers.conftest import by_bytes, parsed

WITH_CALLS = [
    "Apertus-8B-Instruct",
    "Bielik-11B-v3.0-Instruct",
    "ByteDance-Seed-OSS",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
    "GLM-4.6",
    "MiMo-VL",
    "MiniMax-M2",
    "Mistral-Small-3.2-24B-Instruct-2506",
    "NVIDIA-Nemotron-Nano-v2",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
    "Qwen-QwQ-32B",
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
    "Qwen3-Coder",
    "deepseek-ai-DeepSeek-V3.1",
    "deepseek-ai-DeepSeek-V3.2",
    "google-gemma-4-31B-it",
    "ibm-granite-granite-4.0",
    "meetkai-functionary-medium-v3.1",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.2-3B-Instruct",
    "mistralai-Mistral-Nemo-Instruct-2407",
    "moonshotai-Kimi-K2",
    "openai-gpt-oss-120b",
]
"""Templates that write the calls of earlier turns."""

ENDS = (
    "<|im_end|>", "</s>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|call|>", "<|return|>",
    "<|END_OF_TURN_TOKEN|>", "[e~[", "<SPECIAL_12>", "<seed:eos>", "<｜end▁of▁sentence｜>",
    "<|observation|>", "<|assistant_end|>", "<|tool_response>", "<turn|>",
)  # fmt: skip
"""Tokens that end an answer, or stand behind it; a runner does not show them."""

_END = re.compile("|".join(map(re.escape, ENDS)))

Answer = tuple[str, str, dict[str, Any], dict[str, Any]]
"""The end of a prompt, the answer to it, the message that it is, and the tools' schemas."""


def load(folder: Path, name: str) -> tuple[ChatTemplate, AnswerFormat, list[dict[str, Any]]]:
    source = (folder / f"{name}.jinja").read_text()
    golden = json.loads((folder / "golden" / f"{name}.json").read_text())
    template = ChatTemplate(
        source,
        bos=golden["bos_token"],
        eos=golden["eos_token"],
        now=lambda: datetime(2026, 1, 15, 12),
    )
    return template, answer_format(source), golden["cases"]


def answers(template: ChatTemplate, cases: list[dict[str, Any]]) -> list[Answer]:
    """The messages with calls in ``cases`` that the template writes whole."""
    found: list[Answer] = []
    for case in cases:
        if not case["tools"] or "string_arguments" in case["name"]:
            continue
        functions = [tool["function"] for tool in case["tools"]]
        tools = {function["name"]: function["parameters"] for function in functions}
        for i, message in enumerate(case["messages"]):
            if message.get("tool_calls"):
                try:
                    prompt, text = written(template, case, i)
                except InvalidRequest:
                    continue
                if all(name in text for name, _ in calls_of(message)):
                    found.append((prompt, text, message, tools))
    return found


def written(template: ChatTemplate, case: dict[str, Any], i: int) -> tuple[str, str]:
    """The prompt for message ``i`` as far as the message goes on from it, and the message."""
    messages, tools, extra = case["messages"], case["tools"], case["extra"]
    prompt = template.render(messages[:i], tools=tools, add_generation_prompt=True, **extra)
    whole = template.render(messages[: i + 1], tools=tools, add_generation_prompt=False, **extra)
    pairs = zip(prompt, whole, strict=False)
    start = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(prompt), len(whole)))
    mark = whole.rfind("<", 0, start)
    if ">" not in whole[mark:start]:  # both go on with a mark, but not with the same one
        start = mark
    answer = whole[start:]
    end = _END.search(answer)
    return whole[:start], answer[: end.start() if end else None]


def calls_of(message: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    functions = [call["function"] for call in message["tool_calls"]]
    return [(function["name"], function["arguments"]) for function in functions]


@pytest.mark.parametrize("name", WITH_CALLS)
def test_calls_that_a_template_writes_are_read_again(shared_data: Path, name: str) -> None:
    template, form, cases = load(shared_data / "chat-templates", name)
    found = answers(template, cases)
    assert len(found) >= 5
    for prompt, text, message, tools in found:
        said, thoughts, calls = parsed(form, text, prompt=prompt, tools=tools)
        wanted = calls_of(message)
        assert calls == wanted
        content = (message["content"] or "").strip()
        assert content not in text or content in said + thoughts


@pytest.mark.parametrize("name", WITH_CALLS)
def test_calls_are_the_same_at_whatever_byte_the_answer_is_cut(
    shared_data: Path, name: str
) -> None:
    template, form, cases = load(shared_data / "chat-templates", name)
    for prompt, text, _, tools in answers(template, cases)[-2:]:
        whole = parsed(form, text, prompt=prompt, tools=tools)
        n = len(text.encode())
        for cuts in (*((cut,) for cut in range(n)), range(1, n)):
            assert parsed(form, *by_bytes(text, *cuts), prompt=prompt, tools=tools) == whole


@pytest.mark.parametrize(
    ("name", "thinks", "calls"),
    [
        ("google-gemma-2-2b-it", False, False),
        ("microsoft-Phi-3.5-mini-instruct", False, False),
        ("HuggingFaceTB-SmolLM3-3B", True, False),
        ("LFM2-8B-A1B", False, True),
        ("LFM2.5-Instruct", True, True),
        ("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", True, True),
        ("ibm-granite-granite-3.3-2B-Instruct", True, True),
        ("Qwen-Qwen3-0.6B", True, True),
        ("Qwen-Qwen2.5-7B-Instruct", False, True),
        ("openai-gpt-oss-120b", True, True),
    ],
)
def test_a_template_tells_what_its_model_can_do(
    shared_data: Path, name: str, thinks: bool, calls: bool
) -> None:
    form = load(shared_data / "chat-templates", name)[1]
    assert (form.thinks, form.calls_tools) == (thinks, calls)


CALLS = (
    ToolCall("search_notes", {"query": 'it\'s "so"\n', "tags": ["ä"], "deep": True}),
    ToolCall("now", {}),
)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("LFM2-8B-A1B", '<|tool_call_start|>[search_notes(query="it\'s \\"so\\"\\n", tags=["ä"], '
         "deep=True), now()]<|tool_call_end|>"),
        ("ibm-granite-granite-3.3-2B-Instruct", '<|tool_call|>[{"name": "search_notes", '
         '"arguments": {"query": "it\'s \\"so\\"\\n", "tags": ["ä"], "deep": true}}, '
         '{"name": "now", "arguments": {}}]'),
        ("Qwen-Qwen3-0.6B", ""),
        ("openai-gpt-oss-120b", ""),
    ],
)  # fmt: skip
def test_calls_are_written_for_templates_that_do_not(
    shared_data: Path, name: str, written: str
) -> None:
    form = load(shared_data / "chat-templates", name)[1]
    assert form.written(CALLS) == written
    if written:
        assert parsed(form, written)[2] == [(call.name, call.arguments) for call in CALLS]
