import pytest

from cama.templates.answers.families import answer_format
from tests.unit.templates.answers.conftest import parsed

QWEN = answer_format("<think></think> <tool_call>")
CALL = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize(
    ("prompt", "text", "result"),
    [
        ("", "<think>\nHm.\n</think>\n\nHi <b>", ("Hi <b>", "Hm.\n", [])),
        ("", "\n <think>Hm.</think>Hi", ("Hi", "Hm.", [])),
        ("", f"<think>Hm.</think>\n{CALL}", ("", "Hm.", [("now", {})])),
        ("", "Hi <think>no</think>", ("Hi <think>no</think>", "", [])),
        ("", "\n Hi", ("\n Hi", "", [])),
        ("", "<thin", ("<thin", "", [])),
        ("", "<think>Hm. </thi", ("", "Hm. </thi", [])),
        ("", "<think></think>\n\n", ("", "", [])),
        ("<|im_start|>assistant\n<think>\n", "Hm.</think>Hi", ("Hi", "Hm.", [])),
        ("<|im_start|>assistant\n<think>\n", "\nHm.", ("", "Hm.", [])),
        ("assistant\n<think>\n\n</think>\n\n", "Hi", ("Hi", "", [])),
    ],
)
def test_thoughts_stand_in_front(prompt: str, text: str, result: object) -> None:
    assert parsed(QWEN, text, prompt=prompt) == result
    assert parsed(QWEN, *text, prompt=prompt) == result


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("<seed:think> </seed:think>", "<seed:think>Hm.</seed:think>Hi"),
        ("[THINK] [/THINK]", "[THINK]Hm.[/THINK]Hi"),
        ("<|START_THINKING|><|END_THINKING|><|START_ACTION|>",
         "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Hi<|END_RESPONSE|>"),
        ("<|channel>thought\\n<channel|>", "<|channel>thought\nHm.<channel|>Hi"),
        ("<|inner_prefix|><|inner_suffix|>", "<|inner_prefix|>Hm.<|inner_suffix|>Hi"),
        ("content.split('</think>')", "<think>Hm.</think>Hi"),
    ],
)  # fmt: skip
def test_each_family_has_its_own_tags(template: str, text: str) -> None:
    form = answer_format(template)
    assert form.thinks
    assert parsed(form, text) == ("Hi", "Hm.", [])
    assert parsed(form, *text) == ("Hi", "Hm.", [])


def test_a_template_without_thoughts_has_none() -> None:
    assert not answer_format("{{ messages }}").thinks
    assert parsed(answer_format(""), "<think>a</think>b") == ("<think>a</think>b", "", [])


@pytest.mark.parametrize(
    ("parser", "thinks", "calls"),
    [("harmony", True, True), ("qwen3", False, True), ("olmo3-think", True, False)],
)
def test_a_parser_that_a_model_names_counts_more_than_its_template(
    parser: str, thinks: bool, calls: bool
) -> None:
    form = answer_format("[TOOL_CALLS]", parser)
    assert (form.thinks, form.calls_tools) == (thinks, calls)


def test_a_parser_that_nobody_knows_is_not_followed() -> None:
    assert answer_format("<think></think>", "newest").thinks
