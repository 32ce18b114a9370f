"""The fake engine keeps the contract, so tests of the loop on it mean something."""

import pytest

from tests.engine.conformance import *  # noqa: F403  (the suite)
from tests.engine.conformance import MakeEngine
from tests.engine.fake import FakeEngine


@pytest.fixture
def make_engine() -> MakeEngine:
    return FakeEngine


@pytest.fixture
def tolerance() -> float:
    return 0.0
