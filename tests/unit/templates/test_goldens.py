"""Real chat templates render as their publishers' tools do."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import InvalidRequest
from cama.templates.jinja import ChatTemplate

N_CASES = 992


@pytest.fixture(scope="module")
def goldens(shared_data: Path) -> list[dict[str, Any]]:
    folder = shared_data / "chat-templates"
    found = [json.loads(path.read_text()) for path in sorted((folder / "golden").glob("*.json"))]
    for golden in found:
        golden["source"] = (folder / golden["template"]).read_text()
    return found


def rendered(golden: dict[str, Any], case: dict[str, Any]) -> str | None:
    """The prompt; None where the template refuses."""
    now = datetime.fromisoformat(golden["now"])
    template = ChatTemplate(
        golden["source"], bos=golden["bos_token"], eos=golden["eos_token"], now=lambda: now
    )
    try:
        return template.render(
            case["messages"],
            tools=case["tools"],
            add_generation_prompt=case["add_generation_prompt"],
            **case["extra"],
        )
    except InvalidRequest:
        return None


def test_chat_templates_render_as_recorded(goldens: list[dict[str, Any]]) -> None:
    cases = [(golden, case) for golden in goldens for case in golden["cases"]]
    assert len(cases) == N_CASES
    wrong = [
        f"{golden['template']}: {case['name']}"
        for golden, case in cases
        if rendered(golden, case) != case.get("rendered")
    ]
    assert wrong == []
