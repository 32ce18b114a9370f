"""Which family a model is of, told by what its template writes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from cama.templates.answers.base import CallFormat
from cama.templates.answers.formats import AnswerFormat, HarmonyFormat, TaggedFormat
from cama.templates.answers.gemma_calls import GemmaCalls
from cama.templates.answers.json_calls import JsonCalls
from cama.templates.answers.named_calls import NamedCalls
from cama.templates.answers.pythonic_calls import PythonicCalls
from cama.templates.answers.tagged import Tags
from cama.templates.answers.xml_calls import XmlCalls

_NOTHING = re.compile("")

_HERMES = JsonCalls(opens=("<tool_call>",), closes=("</tool_call>",), before="\n", after="\n")
_LLAMA = JsonCalls(opens=("{",), arguments="parameters", is_bare=True)
_PYTHON_TAG = JsonCalls(opens=("<|python_tag|>",), arguments="parameters")
_BARE = JsonCalls(opens=("{", "["), is_bare=True)
_listed = partial(JsonCalls, is_list=True)
_PHI = _listed(opens=("<|tool_call|>",), closes=("<|/tool_call|>",))
_APERTUS = _listed(opens=("<|tools_prefix|>",), closes=("<|tools_suffix|>",), is_keyed=True)
_COMMAND_R7B = _listed(
    opens=("<|START_ACTION|>",),
    closes=("<|END_ACTION|>",),
    name="tool_name",
    arguments="parameters",
    id_first="tool_call_id",
    after="\n",
)
_COMMAND_R = _listed(
    opens=("Action: ```json", "Action:\n```json"),
    closes=("```",),
    name="tool_name",
    arguments="parameters",
    before="\n",
    after="\n",
)
_LFM = PythonicCalls(opens=("<|tool_call_start|>",), closes=("<|tool_call_end|>",))
_FUNCTION_TAG = NamedCalls(
    opens=("<function=",),
    closes=("</function>",),
    head=re.compile(r"(?P<name>[^>\n]+)>"),
    tail=_NOTHING,
    written="{name}>{arguments}",
    is_single=True,
)


def _function_elements(mark: str, line: str) -> XmlCalls:
    return XmlCalls(
        opens=(f"<{mark}>",),
        closes=(f"</{mark}>",),
        head=re.compile(r"\s*<function=(?P<name>[^>\n]+)>\s*"),
        argument=re.compile(
            r"<parameter=(?P<key>[^>\n]+)>\n?(?P<value>.*?)\n?</parameter>"
            r"(?=\s*(?:<parameter=|</function>))\s*",
            re.DOTALL,
        ),
        tail=re.compile(r"</function>\s*"),
        written=("\n<function={name}>\n", f"<parameter={{key}}>{line}", "</function>\n"),
        ends=f"{line}</parameter>",
    )


def _invocations(block: str, prefix: str, string: str) -> XmlCalls:
    """Elements ``invoke`` and ``parameter`` in a ``block``; ``string`` is an attribute."""
    attribute = r' string="(?P<string>true|false)"' if string else ""
    return XmlCalls(
        opens=(f"<{prefix}{block}>",),
        closes=(f"</{prefix}{block}>",),
        head=re.compile(rf'\s*<{prefix}invoke name="(?P<name>[^"\n]+)">\s*'),
        argument=re.compile(
            rf'<{prefix}parameter name="(?P<key>[^"\n]+)"{attribute}>(?P<value>.*?)'
            rf"</{prefix}parameter>(?=\s*(?:<{prefix}parameter |</{prefix}invoke>))\s*",
            re.DOTALL,
        ),
        tail=re.compile(rf"</{prefix}invoke>\s*"),
        written=(
            f'\n<{prefix}invoke name="{{name}}">\n',
            f'<{prefix}parameter name="{{key}}"{string}>',
            f"</{prefix}invoke>\n",
        ),
        ends=f"</{prefix}parameter>",
        is_single=False,
        marks=(prefix,),
    )


_GLM = XmlCalls(
    opens=("<tool_call>",),
    closes=("</tool_call>",),
    head=re.compile(r"\s*(?P<name>[^\s<>{}()\[\]\"'=]{1,256})\s*"),
    argument=re.compile(
        r"<arg_key>(?P<key>.*?)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>"
        r"(?=\s*(?:<arg_key>|\Z))\s*",
        re.DOTALL,
    ),
    tail=re.compile(r"\Z"),
    written=("{name}\n", "<arg_key>{key}</arg_key>\n<arg_value>", ""),
    marks=("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    ends="</arg_value>",
    is_open_ended=True,
)
_GLM_TIGHT = replace(_GLM, written=("{name}", "<arg_key>{key}</arg_key><arg_value>", ""), behind="")
"""Without lines, as GLM writes it since 4.7."""

_DEEPSEEK = NamedCalls(
    opens=("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
    closes=("<｜tool▁calls▁end｜>",),
    head=re.compile(
        r"(?:<｜tool▁call▁begin｜>)?\s*(?:function<｜tool▁sep｜>)?(?P<name>[^\n<`{]+)"
        r"(?:<｜tool▁sep｜>|\s*```(?:json)?)"
    ),
    tail=re.compile(r"\s*(?:```)?\s*(?:<｜tool▁call▁end｜>)?"),
    written="<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>",
    marks=("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"),
)
_DEEPSEEK_R1 = NamedCalls(
    opens=_DEEPSEEK.opens,
    closes=_DEEPSEEK.closes,
    head=_DEEPSEEK.head,
    tail=_DEEPSEEK.tail,
    written=(
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```"
        "<｜tool▁call▁end｜>"
    ),
    between="\n",
    marks=_DEEPSEEK.marks,
)
_KIMI = NamedCalls(
    opens=("<|tool_calls_section_begin|>",),
    closes=("<|tool_calls_section_end|>",),
    head=re.compile(
        r"<\|tool_call_begin\|>\s*(?P<id>(?:functions\.)?(?P<name>[^\n<:]+?)(?::\d+)?)\s*"
        r"<\|tool_call_argument_begin\|>"
    ),
    tail=re.compile(r"\s*(?:<\|tool_call_end\|>)?"),
    written="<|tool_call_begin|>functions.{name}:{id}<|tool_call_argument_begin|>{arguments}"
    "<|tool_call_end|>",
    id_rule="/[0-9]/",
    marks=("<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"),
)
_MISTRAL = NamedCalls(
    opens=("[TOOL_CALLS]",),
    head=re.compile(r"(?P<name>[^\[\]{}\n]+)(?:\[CALL_ID\](?P<id>[^\[\]\n]*))?\[ARGS\]"),
    tail=_NOTHING,
    written="{name}[ARGS]{arguments}",
    is_single=True,
    marks=("[CALL_ID]", "[ARGS]"),
)
_MISTRAL_WITH_IDS = NamedCalls(
    opens=_MISTRAL.opens,
    head=_MISTRAL.head,
    tail=_NOTHING,
    written="{name}[CALL_ID]{id}[ARGS]{arguments}",
    is_single=True,
    marks=_MISTRAL.marks,
)


@dataclass(frozen=True, slots=True)
class _Family:
    """A way to write calls, that of templates which contain all of ``needles``."""

    needles: tuple[str, ...]
    forms: Sequence[CallFormat]
    noise: tuple[str, ...] = ()


_FAMILIES = (
    _Family(("｜DSML｜",), [_invocations("function_calls", "｜DSML｜", ' string="{string}"')]),
    _Family(("<｜tool▁calls▁begin｜>", "```json"), [_DEEPSEEK_R1]),
    _Family(("<｜tool▁calls▁begin｜>",), [_DEEPSEEK]),
    _Family(("<|tool_calls_section_begin|>",), [_KIMI]),
    _Family(("<minimax:tool_call>",), [_invocations("minimax:tool_call", "", "")]),
    _Family(("<seed:tool_call>",), [_function_elements("seed:tool_call", "")]),
    _Family(("<function=", "<parameter="), [_function_elements("tool_call", "\n")]),
    _Family(("<function=",), [_FUNCTION_TAG]),
    _Family(("</arg_key><arg_value>",), [_GLM_TIGHT]),
    _Family(("<arg_key>",), [_GLM]),
    _Family(("<|tools_prefix|>",), [_APERTUS]),
    _Family(("<|START_ACTION|>",), [_COMMAND_R7B], ("<|START_RESPONSE|>", "<|END_RESPONSE|>")),
    _Family(("<|CHATBOT_TOKEN|>", "Action:"), [_COMMAND_R]),
    _Family(("<TOOLCALL>",), [_listed(opens=("<TOOLCALL>",), closes=("</TOOLCALL>",))]),
    _Family(
        ("<|tool_call>call:",),
        [GemmaCalls(opens=("<|tool_call>",), closes=("<tool_call|>",), quote='<|"|>')],
    ),
    _Family(
        ("<start_function_call>",),
        [
            GemmaCalls(
                opens=("<start_function_call>",), closes=("<end_function_call>",), quote="<escape>"
            )
        ],
    ),
    _Family(("<|startoftext|>",), [_LFM]),
    _Family(("<|tool_call_start|>",), [_LFM]),
    _Family(("<|tool_list_start|>",), [_LFM]),
    _Family(("[TOOL_CALLS]", "[CALL_ID]"), [_MISTRAL_WITH_IDS]),
    _Family(("[TOOL_CALLS]", "[ARGS]"), [_MISTRAL]),
    _Family(("[TOOL_CALLS]",), [_listed(opens=("[TOOL_CALLS]",), id_last="id")]),
    _Family(("<|tool_call|>", "<|/tool_call|>"), [_PHI]),
    _Family(("<|tool_call|>",), [_listed(opens=("<|tool_call|>",))]),
    _Family(
        ("<function_calls>",),
        [PythonicCalls(opens=("<function_calls>",), closes=("</function_calls>",), by_line=True)],
    ),
    _Family(("<tool_call>",), [_HERMES]),
    _Family(
        ("<|header_start|>", "tools"),
        [PythonicCalls(opens=("[",), is_bare=True), _LLAMA, _PYTHON_TAG],
    ),
    _Family(("<|start_header_id|>", "tools"), [_LLAMA, _PYTHON_TAG]),
    _Family(("<|start_header_id|>", ".Tools"), [_LLAMA, _PYTHON_TAG]),
    _Family(("List of tools: [",), [_LFM]),
    _Family((".Tools",), [_BARE]),
    _Family(("tools", "tool_calls"), [_BARE]),
)
"""The first that fits counts, so that the peculiar come first."""

_THINKING = (
    Tags("<seed:think>", "</seed:think>"),
    Tags("[THINK]", "[/THINK]"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
    Tags("<|channel>thought\n", "<channel|>"),
    Tags("<|inner_prefix|>", "<|inner_suffix|>"),
    Tags("<think>", "</think>"),
)

_PARSERS = {
    "harmony": "<|channel|><|message|>",
    "qwen3": "<tool_call>",
    "qwen3-thinking": "<tool_call><think></think>",
    "qwen3-coder": "<tool_call><function=<parameter=",
    "qwen3.5": "<tool_call><function=<parameter=<think></think>",
    "qwen3-vl-instruct": "<tool_call>",
    "qwen3-vl-thinking": "<tool_call><think></think>",
    "ministral": "[TOOL_CALLS][ARGS][THINK][/THINK]",
    "olmo3": "<function_calls>",
    "olmo3-think": "<think></think>",
    "functiongemma": "<start_function_call>",
    "gemma4": "<|tool_call>call:<|channel>thought<channel|>",
    "gemma4-no-thinking": "<|tool_call>call:",
    "lfm2": "<|tool_call_start|>",
    "lfm2-thinking": "<|tool_call_start|><think></think>",
    "glm-ocr": "</arg_key><arg_value>",
    "glm-4.7": "</arg_key><arg_value><think></think>",
    "cogito": "<｜tool▁calls▁begin｜>```json<think></think>",
    "deepseek3": "<｜tool▁calls▁begin｜><think></think>",
    "ornith": "<tool_call><function=<parameter=<think></think>",
    "nemotron-3-nano": "<tool_call><function=<parameter=<think></think>",
    "nemotron-3.5-nano": "<tool_call><function=<parameter=<think></think>",
    "passthrough": "",
}
"""Ollama's names of parsers, each with what the template of such a model would contain."""


def is_parser(name: str) -> bool:
    """Whether it is one of Ollama's names."""
    return name in _PARSERS


@lru_cache(maxsize=64)
def answer_format(template: str, parser: str = "") -> AnswerFormat:
    """How a model with this template answers; ``parser`` is what its configuration names, if known.

    A template that mentions neither tools nor thoughts gives plain text.
    """
    text = _PARSERS.get(parser, template)
    if "<|channel|>" in text and "<|message|>" in text:
        return HarmonyFormat()
    tags = next((tags for tags in _THINKING if _thinks(text, tags)), None)
    family = next((f for f in _FAMILIES if all(needle in text for needle in f.needles)), None)
    if family is None:
        return TaggedFormat(tags=tags)
    writes = any(name in template for name in ("tool_calls", ".ToolCalls"))
    return TaggedFormat(tags=tags, forms=family.forms, noise=family.noise, writes_calls=writes)


def _thinks(template: str, tags: Tags) -> bool:
    """Whether the template writes thoughts, or cuts off those in front of an answer."""
    if tags.close not in template:
        return False
    return tags.open.strip() in template or "reasoning_content" not in template
