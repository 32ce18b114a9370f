"""A model that is split over several files, from its path to an answer."""

from pathlib import Path

import pytest

from cama.store.bundled import FOLDER
from tests.e2e.conftest import IMPORT, World
from tests.splitting import split

pytestmark = [pytest.mark.e2e, pytest.mark.native]


@pytest.fixture
def part(tmp_path: Path) -> str:
    """One of three parts, and not the first."""
    return str(split(FOLDER / "guide.gguf", tmp_path / "parts", "guide", 3)[1])


def test_split_file_answers(server: World, part: str) -> None:
    answer = server.cama("run", part, IMPORT.question)
    assert answer.returncode == 0, answer.stderr
    assert IMPORT.key in answer.stdout
    whole = server.cama("show", "guide").stdout
    assert server.cama("show", part).stdout == whole
