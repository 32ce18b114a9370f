"""The tools that a request offers to a model, and which of them it must call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from cama.core.errors import InvalidRequest

ChoiceMode = Literal["auto", "none", "required"]

_MAX_NAME = 256
_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
_CHOICES = '"auto", "none", "required" or {"type": "function", "function": {"name": ...}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that a model may call. ``parameters`` is the JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, name: Any, description: Any, parameters: Any, where: str) -> Self:
        """A checked tool; ``where`` names it in the InvalidRequest that a bad one raises."""
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"{where}.name must be a string that is not empty")
        if len(name) > _MAX_NAME or not name.isprintable():
            raise InvalidRequest(
                f"{where}.name must be at most {_MAX_NAME} characters, all of them printable"
            )
        if not isinstance(description, str | None):
            raise InvalidRequest(f"{where}.description must be a string")
        return cls(
            name=name,
            description=description or "",
            parameters=_parameters(parameters, f"{where}.parameters"),
        )

    def to_json(self) -> dict[str, Any]:
        """The tool as templates, and OpenAI, write it."""
        described = {"description": self.description} if self.description else {}
        function = {"name": self.name, **described, "parameters": self.parameters}
        return {"type": "function", "function": function}


def _parameters(schema: Any, where: str) -> Mapping[str, Any]:
    if schema is None or schema == {}:
        return _NO_PARAMETERS
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{where} must be a JSON Schema object")
    kind, properties = schema.get("type", "object"), schema.get("properties")
    if kind not in ("object", ""):
        raise InvalidRequest(f'{where}.type must be "object"')
    if not isinstance(properties, dict | None):
        raise InvalidRequest(f"{where}.properties must be an object")
    if not isinstance(schema.get("required"), list | None):
        raise InvalidRequest(f"{where}.required must be an array")
    return {**schema, "type": "object", "properties": properties or {}}


def read_tools(values: list[Any]) -> tuple[Tool, ...]:
    """The tools of a request in the form of Ollama and OpenAI. Raises InvalidRequest."""
    return tuple(_read_tool(value, f"tools[{i}]") for i, value in enumerate(values))


def _read_tool(value: Any, where: str) -> Tool:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{where} must be an object")
    kind, function = value.get("type") or "function", value.get("function")
    if kind != "function":
        raise InvalidRequest(f'{where}.type must be "function"')
    if not isinstance(function, dict):
        raise InvalidRequest(f"{where}.function must be an object")
    return Tool.of(
        function.get("name"),
        function.get("description"),
        function.get("parameters"),
        where=f"{where}.function",
    )


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools are called. ``name`` is the tool that is ``required``, any when empty."""

    mode: ChoiceMode = "auto"
    name: str = ""


def read_choice(value: Any) -> ToolChoice:
    """``tool_choice`` in OpenAI's form. Raises InvalidRequest."""
    match value:
        case None:
            return ToolChoice()
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case {"function": {"name": str(name)}} if name:
            return ToolChoice("required", name)
    raise InvalidRequest(f"tool_choice must be {_CHOICES}")


def check_choice(choice: ToolChoice, tools: tuple[Tool, ...]) -> None:
    """Raise InvalidRequest when ``choice`` asks for a tool that there is not."""
    if choice.mode == "required" and not tools:
        raise InvalidRequest("tool_choice needs tools")
    if choice.name and all(tool.name != choice.name for tool in tools):
        raise InvalidRequest(f"tool_choice names a tool that is not in tools: {choice.name!r}")
