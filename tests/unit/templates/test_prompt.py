from typing import Any

import pytest

from cama.core.answer import ToolCall
from cama.templates.jinja import ChatTemplate
from cama.templates.ollama import OllamaTemplate
from cama.templates.prompt import Template, render_prompt, template_message
from cama.wire.requests import Message

CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def say(role: str, content: str) -> Message:
    return Message(role=role, content=content)


def prompt(*messages: Message, source: str = CHATML, **extra: Any) -> str:
    return render_prompt(ChatTemplate(source, bos="", eos=""), messages, **extra)


def test_prompt_asks_for_an_answer() -> None:
    assert prompt(say("user", "Hi")) == "<|user|>Hi<|end|><|assistant|>"


def test_prompt_continues_an_answer_that_was_begun() -> None:
    begun = prompt(say("user", "Hi"), say("assistant", "It is "))
    assert begun == "<|user|>Hi<|end|><|assistant|>It is"


def test_prompt_continues_the_last_occurrence() -> None:
    begun = prompt(say("user", "A"), say("assistant", "A"))
    assert begun == "<|user|>A<|end|><|assistant|>A"


def test_prompt_does_not_continue_an_empty_answer() -> None:
    assert prompt(say("assistant", " ")).endswith("<|assistant|><|end|><|assistant|>")


def test_prompt_answers_anew_when_the_template_hides_what_was_begun() -> None:
    hidden = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    assert prompt(say("assistant", "It is"), source=hidden) == "<|assistant|>"


def test_prompt_passes_variables() -> None:
    assert prompt(source="{{ enable_thinking }}", enable_thinking=False) == "False"


def test_template_message_uses_the_templates_names() -> None:
    message = Message(
        role="tool",
        content="2",
        thinking="hm",
        tool_calls=(ToolCall("f", {}, "y"),),
        tool_name="f",
        tool_call_id="x",
    )
    assert template_message(message) == {
        "role": "tool",
        "content": "2",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "y", "type": "function", "function": {"name": "f", "arguments": {}}}],
        "name": "f",
        "tool_call_id": "x",
    }


def test_template_message_has_only_what_was_said() -> None:
    assert template_message(say("user", "Hi")) == {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([say("user", "A"), say("assistant", "B"), say("user", "C")], "ABC"),
        ([say("user", "A"), say("user", "B")], "A\n\nB"),
        ([say("system", "S"), say("user", "A")], "A"),
        ([say("user", "A"), say("assistant", "B")], "AB"),
        ([], ""),
    ],
)
def test_plain_template_strings_texts_together(messages: list[Message], text: str) -> None:
    assert render_prompt(OllamaTemplate("{{ .Prompt }}"), messages) == text


TOOLED = (
    "{{ range .Tools }}{{ .Function.Name }}: {{ .Function.Description }}\n{{ end }}"
    "{{ range .Messages }}"
    "[{{ .Role }}{{ if .ToolName }} {{ .ToolName }}#{{ .ToolCallID }}{{ end }}]"
    "{{ if .Thinking }}<{{ .Thinking }}>{{ end }}{{ .Content }}"
    "{{ range .ToolCalls }}{{ .ID }}={{ .Function.Name }}{{ .Function.Arguments }}{{ end }}"
    "{{ end }}"
)
TOOLED_JINJA = (
    "{% for t in tools %}{{ t.function.name }}: {{ t.function.description }}\n{% endfor %}"
    "{% for m in messages %}"
    "[{{ m.role }}{% if m.name %} {{ m.name }}#{{ m.tool_call_id }}{% endif %}]"
    "{% if m.reasoning_content %}<{{ m.reasoning_content }}>{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls %}{{ c.id }}={{ c.function.name }}"
    "{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}"
)  # fmt: skip
TOOL = {
    "type": "function",
    "function": {"name": "now", "description": "The time", "parameters": {"type": "object"}},
}


@pytest.mark.parametrize(
    "template", [OllamaTemplate(TOOLED), ChatTemplate(TOOLED_JINJA, bos="", eos="")]
)
def test_tools_calls_results_and_thoughts_reach_the_template(template: Template) -> None:
    call = ToolCall("now", {"in": "Oslo"}, "call_1")
    messages = [
        say("user", "When?"),
        Message(role="assistant", content="", thinking="hm", tool_calls=(call,)),
        Message(role="tool", content="12:00", tool_name="now", tool_call_id="call_1"),
    ]
    made = render_prompt(template, messages, tools=[TOOL])
    assert made.replace(" ", "") == (
        'now:Thetime\n[user]When?[assistant]<hm>call_1=now{"in":"Oslo"}[toolnow#call_1]12:00'
    )


def test_go_template_leaves_an_answer_open_by_itself() -> None:
    template = OllamaTemplate("<{{ .Prompt }}>{{ .Response }}</end>")
    talk = [say("user", "A"), say("assistant", "B"), say("user", "C"), say("assistant", "It is ")]
    assert render_prompt(template, talk) == "<A>B</end><C>It is "
    assert render_prompt(template, talk[:3]) == "<A>B</end><C>"
