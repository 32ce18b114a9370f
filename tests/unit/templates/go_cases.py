"""Recorded cases of Go templates, and how one is run."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cama.templates.ollama import OllamaTemplate, Thinking

DATA = Path(__file__).parent / "data"


def load(path: Path) -> Any:
    return json.loads(path.read_text())


ENGINE = load(DATA / "engine-cases.json")
CHAT = load(DATA / "chat-cases.json")


def noon(date: str = CHAT["current_date"]) -> datetime:
    return datetime.fromisoformat(f"{date}T12:00:00")


def turn(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of a case with the names that templates are given."""
    names = {"thinking": "reasoning_content", "tool_name": "name"}
    return {names.get(key, key): value for key, value in message.items()}


def rendered(source: str, case: Mapping[str, Any]) -> str:
    template = OllamaTemplate(source, now=noon)
    thinking = Thinking(
        is_set=case.get("think_set", False),
        on=case.get("think", False),
        level=case.get("think_level", ""),
    )
    if "suffix" in case:
        return template.insert(case["prompt"], case["suffix"])
    return template.execute(list(map(turn, case["messages"])), case.get("tools", []), thinking)
