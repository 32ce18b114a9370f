"""Requests that are made of the API's document, sound ones and odd ones: answered as it says."""

import copy
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import ASGIApp

from cama.api.app import create_app
from cama.core.settings import Settings
from cama.store.store import Store
from tests.api.describing import BODY_TYPES, strict
from tests.api.fakes import FakeRunner, FakeScheduler, hello, runner_info

ADDRESS = "http://127.0.0.1:11434"
MODEL = {"enum": ["chatty", "embedder"]}
CHECKED = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
N_EXAMPLES = 5
"""For each operation that has a body or a parameter, sound and odd."""


@pytest.fixture
def app(store: Store) -> ASGIApp:
    runner = FakeRunner(runner_info(), hello())
    return create_app(Settings(models=store.root, offline=True), store, FakeScheduler(runner))


def document() -> dict[str, Any]:
    """That of the API, for models that are there."""
    made = copy.deepcopy(strict())
    for name in {name for _, _, name in BODY_TYPES}:
        properties = made["components"]["schemas"][name]["properties"]
        if "model" in properties:
            properties["model"] = MODEL
    return made


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_are_as_the_document_says(app: ASGIApp, mode: GenerationMode) -> None:
    for found in schemathesis.openapi.from_dict(document()).get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if mode is GenerationMode.POSITIVE or _has_json(operation):
            attack(operation, app, mode)


def _has_json(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    return "application/json" in operation.get_request_payload_content_types()


def attack(operation: APIOperation[Any, Any, Any, Any], app: ASGIApp, mode: GenerationMode) -> None:
    @hypothesis.settings(
        max_examples=N_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        response = case.call(base_url=ADDRESS, app=app)
        assert "Traceback" not in response.text
        assert is_no_bug(response.status_code, response.text), response.text
        case.validate_response(response, checks=CHECKED)

    check()


def is_no_bug(status: int, text: str) -> bool:
    """500 is said of an odd option, as in Ollama."""
    return status < 500 or status == 503 or 'option \\"' in text
