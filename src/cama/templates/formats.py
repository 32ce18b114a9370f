"""Formats of conversations that many models share: how each writes turns, and where it stops."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

Marks = tuple[str, str]
"""What stands before and behind the text of a message."""


class Turns(NamedTuple):
    """The marks of each role."""

    system: Marks
    user: Marks
    assistant: Marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """``lead`` begins a prompt and ``start`` the answer that is asked for.

    ``opens_turn``: the system's text begins the turn of the user after it.
    """

    turns: Turns
    start: str = ""
    lead: str = ""
    opens_turn: bool = False
    stop: tuple[str, ...]

    @property
    def template(self) -> str:
        """The format in Go's template language."""
        system, (user, end), assistant = self.turns
        note = forget = ""
        if self.opens_turn:
            user = f"{{{{ if not $opened }}}}{user}{{{{ end }}}}"
            note, forget = "{{ $opened = true }}", "{{ $opened = false }}"
        return (
            f"{'{{ $opened := false }}' if self.opens_turn else ''}{self.lead}"
            "{{ range .Messages }}"
            f'{{{{ if eq .Role "system" }}}}{_around(system)}{note}'
            f'{{{{ else if eq .Role "user" }}}}{_around((user, end))}{forget}'
            f'{{{{ else if eq .Role "assistant" }}}}{_around(assistant)}'
            f"{{{{ end }}}}{{{{ end }}}}{self.start}"
        )


def _around(marks: Marks) -> str:
    return f"{marks[0]}{{{{ .Content }}}}{marks[1]}"


def _by_role(before: str, behind: str, names: Mapping[str, str] | None = None) -> Turns:
    """Marks that differ only in the name of the role, which stands for ``ROLE``."""
    called = ((names or {}).get(role, role) for role in Turns._fields)
    return Turns(*((before.replace("ROLE", name), behind) for name in called))


_COMMAND_R = "<|START_OF_TURN_TOKEN|><|ROLE_TOKEN|>"
_OPENCHAT = "GPT4 Correct ROLE:"
_ASSISTANT_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}

FORMATS: Final[Mapping[str, Format]] = {
    "chatml": Format(
        turns=_by_role("<|im_start|>ROLE\n", "<|im_end|>\n"),
        start="<|im_start|>assistant\n",
        stop=("<|im_start|>", "<|im_end|>"),
    ),
    "llama3-instruct": Format(
        turns=_by_role("<|start_header_id|>ROLE<|end_header_id|>\n\n", "<|eot_id|>"),
        start="<|start_header_id|>assistant<|end_header_id|>\n\n",
        stop=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "llama2-chat": Format(
        lead="[INST] ",
        turns=Turns(
            system=("<<SYS>>\n", "\n<</SYS>>\n\n"),
            user=("", " [/INST]"),
            assistant=(" ", "</s><s>[INST] "),
        ),
        stop=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
    ),
    "mistral-instruct": Format(
        lead="[INST] ",
        turns=Turns(system=("", "\n\n"), user=("", "[/INST]"), assistant=(" ", "</s>[INST] ")),
        stop=("<|im_start|>", "<|im_end|>"),
    ),
    "gemma-instruct": Format(
        turns=Turns(
            system=("<start_of_turn>user\n", "\n"),
            user=("<start_of_turn>user\n", "<end_of_turn>\n"),
            assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
        ),
        start="<start_of_turn>model\n",
        opens_turn=True,
        stop=("<start_of_turn>", "<end_of_turn>"),
    ),
    "gemma3-instruct": Format(
        turns=Turns(
            system=("<start_of_turn>user\n", "\n\n"),
            user=("<start_of_turn>user\n", "<end_of_turn>\n"),
            assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
        ),
        start="<start_of_turn>model\n",
        opens_turn=True,
        stop=("<end_of_turn>",),
    ),
    "phi-3": Format(
        turns=_by_role("<|ROLE|>\n", "<|end|>\n"),
        start="<|assistant|>\n",
        stop=("<|end|>", "<|system|>", "<|user|>", "<|assistant|>"),
    ),
    "zephyr": Format(
        turns=_by_role("<|ROLE|>\n", "</s>\n"),
        start="<|assistant|>\n",
        stop=("<|system|>", "</s>", "<|user|>", "<|assistant|>"),
    ),
    "vicuna": Format(
        turns=Turns(
            system=("", "\n\n"), user=("USER: ", "\n"), assistant=("ASSISTANT: ", "</s>\n")
        ),
        start="ASSISTANT:",
        stop=("USER:", "ASSISTANT:"),
    ),
    "alpaca": Format(
        turns=Turns(
            system=("", "\n\n"),
            user=("### Instruction:\n", "\n\n"),
            assistant=("### Response:\n", "\n\n"),
        ),
        start="### Response:\n",
        stop=("### Instruction:", "### Response"),
    ),
    "openchat": Format(
        turns=_by_role(f"{_OPENCHAT} ", "<|end_of_turn|>", _ASSISTANT_ROLES),
        start=_OPENCHAT.replace("ROLE", "Assistant"),
        stop=("<|end_of_turn|>",),
    ),
    "command-r": Format(
        turns=_by_role(
            _COMMAND_R,
            "<|END_OF_TURN_TOKEN|>",
            {"system": "SYSTEM", "user": "USER", "assistant": "CHATBOT"},
        ),
        start=_COMMAND_R.replace("ROLE", "CHATBOT"),
        stop=("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    ),
    "falcon-instruct": Format(
        turns=Turns(
            system=("System: ", "\n"), user=("User:\n", "\n"), assistant=("Falcon:\n", "\n")
        ),
        start="Falcon:\n",
        stop=("User:", "Assistant:"),
    ),
    "solar-instruct": Format(
        turns=Turns(
            system=("### System:\n", "\n\n"),
            user=("### User:\n", "\n\n"),
            assistant=("### Assistant:\n", "</s>\n\n"),
        ),
        start="### Assistant:\n",
        stop=("### System:", "### User:", "### Assistant"),
    ),
    "starcoder2-instruct": Format(
        turns=Turns(
            system=("", "\n\n"),
            user=("### Instruction\n", "\n\n"),
            assistant=("### Response\n", "<|endoftext|>\n\n"),
        ),
        start="### Response\n",
        stop=("### Instruction", "### Response", "<|endoftext|>"),
    ),
    "magicoder": Format(
        turns=Turns(
            system=("", "\n\n"),
            user=("@@ Instruction\n", "\n\n"),
            assistant=("@@ Response\n", "\n\n"),
        ),
        start="@@ Response\n",
        stop=("@@ Instruction", "@@ Response"),
    ),
    "granite-instruct": Format(
        turns=Turns(
            system=("System:\n", "\n\n"),
            user=("Question:\n", "\n\n"),
            assistant=("Answer:\n", "\n\n"),
        ),
        start="Answer:\n",
        stop=("System:", "Question:", "Answer:"),
    ),
    "chatqa": Format(
        turns=_by_role("ROLE: ", "\n\n", _ASSISTANT_ROLES),
        start="Assistant:",
        stop=("System:", "User:", "Assistant:", "<|begin_of_text|>"),
    ),
    "alfred": Format(
        turns=_by_role("<start_ROLE>", "<end_message>"),
        start="<start_assistant>",
        stop=("<start_system>", "<end_message>", "<start_user>", "<start_assistant>"),
    ),
    "codellama-70b-instruct": Format(
        turns=_by_role("Source: ROLE\n\n ", " <step> "),
        start="Source: assistant\nDestination: user\n\n ",
        stop=("Source:", "Destination:", "<step>"),
    ),
}
