"""Adapters from a Modelfile to the answer: a real server, real engines, the command line."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.adapters import merge, write_adapter
from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

OPTIONS = {"temperature": 0, "num_predict": 16}
PROMPT = "The camel crosses the desert by night."


class Made(NamedTuple):
    """A server with models ``base``, ``poet`` and ``judge``: one file, and adapters of it."""

    server: World
    merged: Path

    def ask(self, model: str, **body: Any) -> dict[str, Any]:
        asked = {"model": model, "prompt": PROMPT, "raw": True, "stream": False, **body}
        asked["options"] = OPTIONS
        url = f"{self.server.url}/api/generate"
        answer = httpx.post(url, json=asked, timeout=100, trust_env=False)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def text(self, model: str, **body: Any) -> str:
        return str(self.ask(model, **body)["response"])


@pytest.fixture(scope="module")
def made(
    server: World, tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Made:
    folder = tmp_path_factory.mktemp("made")
    base = folder / "base.gguf"
    base.write_bytes(tiny_model("llama", "F32").read_bytes())
    poet = write_adapter(folder / "poet.gguf", base, seed=1)
    write_adapter(folder / "judge.gguf", base, seed=2, rank=12)
    for name, lines in (
        ("base", "FROM ./base.gguf"),
        ("poet", "FROM base\nADAPTER ./poet.gguf"),
        ("judge", "FROM base\nADAPTER ./judge.gguf"),
    ):
        (folder / "Modelfile").write_text(lines)
        outcome = server.cama("create", name, "-f", str(folder / "Modelfile"))
        assert outcome.returncode == 0, outcome.stderr
    return Made(server, merge(folder / "merged.gguf", base, poet))


def test_model_with_an_adapter_answers_as_its_merged_weights(made: Made) -> None:
    assert made.text("poet") == made.text(str(made.merged))
    assert len({made.text(name) for name in ("base", "poet", "judge")}) == 3


def test_request_chooses_adapters(made: Made) -> None:
    assert made.text("base", adapters=["poet"]) == made.text("poet")
    assert made.text("poet", adapters=["judge"]) == made.text("judge")
    assert made.text("poet", adapters=[]) == made.text("base")
    half = made.text("base", adapters=[{"name": "poet", "scale": 0.5}])
    both = made.text("base", adapters=["poet", "judge"])
    assert len({half, both, made.text("base"), made.text("poet"), made.text("judge")}) == 5


def test_models_of_one_base_answer_at_once_in_one_runner(made: Made) -> None:
    names = ["base", "poet", "judge"] * 4
    alone = {name: made.text(name) for name in names}
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(made.text, names)) == [alone[name] for name in names]
    running = httpx.get(f"{made.server.url}/api/ps", trust_env=False).json()["models"]
    assert len([one for one in running if one["name"].split(":")[0] in names]) == 1


def test_prompt_is_cached_for_the_same_adapter_only(made: Made) -> None:
    prompt = "A llama carries salt over the mountains, and it knows every stone of the path."
    first = {name: made.ask(name, prompt=prompt) for name in ("base", "poet", "judge")}
    again = {name: made.ask(name, prompt=prompt) for name in ("base", "poet", "judge")}
    assert [answer["cama"]["miss_reason"] for answer in first.values()][1:] == ["adapter"] * 2
    for name, answer in again.items():
        assert answer["prompt_cached_count"] == answer["prompt_eval_count"] - 1
        assert answer["response"] == first[name]["response"]


def test_show_tells_of_the_adapter(made: Made) -> None:
    shown = made.server.cama("show", "poet").stdout
    assert "Adapter" in shown
    assert "rank          4" in shown
    assert "ADAPTER" in made.server.cama("show", "poet", "--modelfile").stdout
