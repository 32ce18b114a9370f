"""Answers that must call a tool: whatever the grammar lets pass is read as calls that fit."""

import json
import random
import re

import jsonschema
import numpy as np
import pytest

from cama.core.errors import InvalidConstraint
from cama.core.generation import Constraint
from cama.engine.constraint.grammars import compile_grammar, grammar_of, vocabulary_table
from cama.templates.answers.families import answer_format
from cama.templates.answers.formats import AnswerFormat, Asked, TaggedFormat
from cama.templates.answers.lark import Tools
from tests.unit.templates.answers.conftest import TOOLS, parsed

TEMPLATES = [
    "<tool_call> <think></think>",
    "<tool_call> <function= <parameter=",
    "<seed:tool_call> <seed:think></seed:think>",
    "<function=",
    "<arg_key> <think></think>",
    "</arg_key><arg_value>",
    "<minimax:tool_call>",
    "｜DSML｜ <think></think>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁begin｜> ```json",
    "<|tool_calls_section_begin|>",
    "<|tools_prefix|>",
    "<|START_ACTION|><|START_THINKING|><|END_THINKING|>",
    "<|CHATBOT_TOKEN|> Action:",
    "<TOOLCALL>",
    "<|tool_call>call: <|channel>thought <channel|>",
    "<start_function_call>",
    "<|tool_call_start|>",
    "[TOOL_CALLS] [CALL_ID]",
    "[TOOL_CALLS] [ARGS]",
    "[TOOL_CALLS]",
    "<|tool_call|>",
    "<function_calls>",
    "<|header_start|> tools",
    "<|start_header_id|> tools",
    ".Tools",
    "<|channel|> <|message|>",
]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"],
          "additionalProperties": False}  # fmt: skip
FORM = Constraint(kind="json_schema", text=json.dumps(SCHEMA))

N_ANSWERS = 3
MAX_STEPS = 4000


def vocabulary(form: AnswerFormat) -> list[bytes]:
    """Bytes, a character, what ends texts, so that random ones end soon, and the end."""
    ends = [form.tags.close] if isinstance(form, TaggedFormat) and form.tags else ["<|end|>"]
    if isinstance(form, TaggedFormat):
        ends += [getattr(one, "ends", "") or getattr(one, "quote", "") for one in form.forms]
    words = [end.encode() for end in ends if end]
    return [bytes([byte]) for byte in range(256)] + ["ö".encode(), *words, b"<end>"]


def random_answers(form: AnswerFormat, constraint: Constraint) -> list[str]:
    pieces = vocabulary(form)
    end = len(pieces) - 1
    table = vocabulary_table(pieces, [end])
    compiled = compile_grammar(constraint, grammar_of(constraint), table)
    found: list[str] = []
    for seed in range(50):
        chance, matcher = random.Random(seed), compiled.deep_copy()
        tokens: list[int] = []
        while not matcher.is_stopped() and len(tokens) < MAX_STEPS:
            bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            allowed = np.unpackbits(bits, count=len(pieces), bitorder="little").nonzero()[0]
            token = choose([int(token) for token in allowed], chance)
            if token == end:
                break
            assert matcher.consume_token(token)
            tokens.append(token)
        text = b"".join(pieces[token] for token in tokens).decode()
        if len(tokens) < MAX_STEPS and "<|end|>" not in text.rpartition("<|message|>")[2]:
            found.append(text)
        if len(found) == N_ANSWERS:
            return found
    raise AssertionError("random answers do not end")


def choose(allowed: list[int], chance: random.Random) -> int:
    """A token, printable if it can be, and often one that ends something."""
    ends = [token for token in allowed if token >= 256 or chr(token) in '"}]']
    if ends and chance.random() < 0.3:
        return chance.choice(ends)
    return chance.choice([token for token in allowed if 31 < token < 127] or allowed)


def held(form: AnswerFormat, tools: Tools = TOOLS, **asked: object) -> list[str]:
    question = {"prompt": "", "tools": tools} | asked
    return random_answers(form, form.held_to(None, Asked(**question)))  # type: ignore[arg-type]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("parallel", [True, False])
def test_required_calls_are_always_calls(template: str, parallel: bool) -> None:
    form = answer_format(template)
    for text in held(form, parallel=parallel):
        said, _, calls = parsed(form, text)
        assert calls
        assert not said.strip()
        assert parallel or len(calls) == 1
        for name, arguments in calls:
            jsonschema.validate(arguments, TOOLS[name])


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_named_tool_is_the_one_that_is_called(template: str) -> None:
    form = answer_format(template)
    for text in held(form, {"get_weather": TOOLS["get_weather"]}, parallel=False):
        assert [name for name, _ in parsed(form, text)[2]] == ["get_weather"]


@pytest.mark.parametrize("template", [t for t in TEMPLATES if answer_format(t).thinks])
def test_a_form_begins_behind_the_thoughts(template: str) -> None:
    form = answer_format(template)
    asked = Asked(prompt="", tools={})
    for text in random_answers(form, form.held_to(FORM, asked)):
        jsonschema.validate(json.loads(parsed(form, text, tools={})[0]), SCHEMA)


GRAMMARS = [
    Constraint(kind="regex", text="(ja|nein)[!?]{1,3}"),
    Constraint(kind="lark", text='start: answer "!"\nanswer: "ja" | "nein" "?"?'),
    Constraint(kind="gbnf", text='root ::= answer [!?]\nanswer ::= "ja" | "nein"'),
]


@pytest.mark.parametrize("template", [t for t in TEMPLATES if answer_format(t).thinks])
@pytest.mark.parametrize("grammar", GRAMMARS)
def test_a_grammar_begins_behind_the_thoughts(template: str, grammar: Constraint) -> None:
    form = answer_format(template)
    for text in random_answers(form, form.held_to(grammar, Asked(prompt="", tools={}))):
        assert re.fullmatch("(ja|nein)[!?]{1,3}", parsed(form, text, tools={})[0])


def test_an_answer_with_tools_and_a_grammar_is_one_or_the_other() -> None:
    form = answer_format("<tool_call>")
    for text in random_answers(form, form.held_to(GRAMMARS[2], Asked(prompt="", tools=TOOLS))):
        said, _, calls = parsed(form, text)
        assert bool(calls) != bool(said)
        assert not said or re.fullmatch("(ja|nein)[!?]", said)


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        (Constraint(kind="gbnf", text="root ::= other"), "invalid GBNF grammar: Rule 'other'"),
        (Constraint(kind="lark", text="start: other"), "invalid Lark grammar: "),
        (Constraint(kind="lark", text="start: @form"), "unknown grammar @form"),
        (Constraint(kind="regex", text="("), "unclosed group"),
    ],
)
def test_a_grammar_behind_thoughts_that_cannot_be_compiled_is_refused(
    grammar: Constraint, message: str
) -> None:
    form = answer_format("<tool_call> <think></think>")
    constraint = form.held_to(grammar, Asked(prompt="", tools={}))
    table = vocabulary_table([bytes([byte]) for byte in range(256)] + [b"<end>"], [256])
    with pytest.raises(InvalidConstraint) as caught:
        compile_grammar(constraint, grammar_of(constraint), table)
    assert message in caught.value.message


def test_a_prompt_that_opens_thoughts_has_them_closed() -> None:
    form = answer_format("<tool_call> <think></think>")
    asked = Asked(prompt="<think>\n", tools={}, may_think=False)
    for text in random_answers(form, form.held_to(FORM, asked)):
        assert "</think>" in text
        said = parsed(form, text, prompt="<think>\n", tools={})[0]
        jsonschema.validate(json.loads(said), SCHEMA)


def test_an_answer_with_tools_and_a_form_is_one_or_the_other() -> None:
    form = answer_format("<tool_call>")
    answers = random_answers(form, form.held_to(FORM, Asked(prompt="", tools=TOOLS)))
    for text in answers:
        said, _, calls = parsed(form, text)
        assert bool(calls) != bool(said)
        if said:
            jsonschema.validate(json.loads(said), SCHEMA)


@pytest.mark.parametrize("template", ["<tool_call>", "<arg_key>", "<|tool_call>call:"])
def test_a_schema_that_no_answer_can_be_held_to_is_refused(template: str) -> None:
    tools = {"f": {"type": "object", "properties": {"a": {"type": "strin"}},
                   "required": ["a"]}}  # fmt: skip
    constraint = answer_format(template).held_to(None, Asked(prompt="", tools=tools))
    table = vocabulary_table([bytes([byte]) for byte in range(256)] + [b"<end>"], [256])
    with pytest.raises(InvalidConstraint, match="invalid JSON schema"):
        compile_grammar(constraint, grammar_of(constraint), table)
