"""A conversation with a model: what was said, and the settings of the next turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cama.client.fields import objects, text, texts

Message = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Session:
    """``model`` is what the server is asked for; ``system`` None leaves the model its own.

    ``format``, ``grammar`` and ``think`` are as the API takes them; None sends nothing.
    """

    model: str
    system: str | None = None
    messages: list[Message] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    format: Any = None
    grammar: str | None = None
    think: bool | str | None = None
    keep_alive: str | None = None
    capabilities: tuple[str, ...] = ()
    verbose: bool = False
    wordwrap: bool = True
    hide_thinking: bool = False

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Take over what the server knows of the model."""
        self.capabilities = tuple(texts(facts, "capabilities"))
        if self.think is None and "thinking" in self.capabilities:
            self.think = True

    @property
    def attaches(self) -> bool:
        """Whether files that a message names go with it."""
        return "vision" in self.capabilities or "audio" in self.capabilities

    def use(self, model: str, facts: Mapping[str, Any]) -> None:
        """Go on with another model, from the beginning."""
        self.model = model
        self.messages.clear()
        self.think = None
        self.describe(facts)

    def generation(self, prompt: str) -> dict[str, Any]:
        """The body of a completion."""
        text, images = self._attached(prompt)
        return self._body({"prompt": text} | ({"images": images} if images else {}))

    def embedding(self, input: str) -> dict[str, Any]:
        """The body that asks for the vector of ``input``."""
        body: dict[str, Any] = {"model": self.model, "input": input, "options": dict(self.options)}
        return body if self.keep_alive is None else body | {"keep_alive": self.keep_alive}

    def asked(self, message: str) -> Message:
        """The user's ``message``, with the files that it names where the model takes any."""
        text, images = self._attached(message)
        return _said("user", text) | ({"images": images} if images else {})

    def turn(self, asked: Message) -> dict[str, Any]:
        """The body that sends the whole conversation with ``asked`` at its end."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return self._body({"messages": [*system, *self.messages, asked]})

    def saving(self, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The body that keeps the conversation and its settings as the model ``name``.

        ``facts`` are those of the model: what it begins with comes before what was said. Images
        are left out: a Modelfile has no place for them.
        """
        stored = [_said(role, content) for role, content in stored_conversation(facts)]
        said = [{k: v for k, v in one.items() if k != "images"} for one in self.messages]
        body: dict[str, Any] = {
            "model": name,
            "from": self.model,
            "system": self.system,
            "parameters": dict(self.options),
            "messages": [*stored, *said] if said else [],
        }
        return {key: value for key, value in body.items() if value}

    def record(self, asked: Message, answer: Message) -> None:
        """Keep a finished turn."""
        self.messages += [asked, answer]

    def _attached(self, text: str) -> tuple[str, tuple[str, ...]]:
        if not self.attaches:
            return text, ()
        # Only here: most models do not see, and a start should cost little.
        from cama.cli.attachments import attached

        return attached(text)

    def _body(self, content: Mapping[str, Any]) -> dict[str, Any]:
        optional = {
            "format": self.format, "grammar": self.grammar, "think": self.think,
            "keep_alive": self.keep_alive,
        }  # fmt: skip
        given = {key: value for key, value in optional.items() if value is not None}
        return {"model": self.model, **content, "options": dict(self.options), **given}


def stored_conversation(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The role and text of the messages that the model itself begins with."""
    return [(text(m, "role"), text(m, "content")) for m in objects(facts, "messages")]


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}
