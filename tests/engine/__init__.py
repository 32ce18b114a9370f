"""The conformance suite of engines, and the engines and the loop that pass it."""

import pytest

pytest.register_assert_rewrite("tests.engine.conformance")
