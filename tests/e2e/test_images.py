"""Images through a server: clients of three dialects, the command line, and hostile files."""

import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.e2e.conftest import World
from tests.projectors import make_projector, png
from tests.rewriting import rewrite

pytestmark = [pytest.mark.e2e, pytest.mark.native]

FIRST, SECOND = png(1), png(2)


@pytest.fixture(scope="module")
def seer(server: World, tiny_model: Callable[..., Path]) -> str:
    """A model with a projector, made by a Modelfile of two files."""
    projector = make_projector(server.home / "mmproj.gguf", "mlp")
    modelfile = server.home / "Modelfile"
    files = f"FROM {tiny_model('llama', 'Q8_0')}\nFROM {projector}\n"
    modelfile.write_text(f"{files}PARAMETER num_predict 6\nPARAMETER temperature 0\n")
    made = server.cama("create", "seer", "-f", str(modelfile))
    assert made.returncode == 0, made.stderr
    return "seer"


@pytest.fixture
def client(server: World) -> Iterator[ollama.Client]:
    with ollama.Client(server.url, trust_env=False) as client:
        yield client


def encoded(data: bytes) -> str:
    return b64encode(data).decode()


def test_ollamas_client_shows_images(client: ollama.Client, seer: str) -> None:
    assert "vision" in (client.show(seer).capabilities or [])

    def ask(*images: bytes) -> ollama.ChatResponse:
        message = {"role": "user", "content": "What is this?", "images": list(images)}
        return client.chat(seer, [message])

    first, other, both, none = ask(FIRST), ask(SECOND), ask(FIRST, SECOND), ask()
    counts = [one.prompt_eval_count or 0 for one in (none, first, other, both)]
    assert counts[1] == counts[2]
    assert counts[1] - counts[0] >= 64
    assert counts[3] - counts[1] >= 64
    assert first.message.content == ask(FIRST).message.content
    assert len({one.message.content for one in (first, other, both, none)}) > 1
    generated = client.generate(seer, "What is this?", images=[FIRST])
    assert generated.response == first.message.content


def test_openais_client_shows_images(server: World, seer: str) -> None:
    url = f"data:image/png;base64,{encoded(FIRST)}"
    content: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    damaged: Any = [{"type": "image_url", "image_url": {"url": url[:-40]}}]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        create = partial(client.chat.completions.create, model=seer)
        answer = create(messages=[{"role": "user", "content": content}])
        with pytest.raises(openai.BadRequestError, match="image 0 is damaged"):
            create(messages=[{"role": "user", "content": damaged}])
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 64


def test_anthropics_client_shows_images(server: World, seer: str) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": encoded(FIRST)}
    content: Any = [
        {"type": "image", "source": source}, {"type": "text", "text": "What is this?"},
    ]  # fmt: skip
    messages: Any = [{"role": "user", "content": content}]
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        answer = client.messages.create(model=seer, messages=messages, max_tokens=6)
        count = client.messages.count_tokens(model=seer, messages=messages)
        source["data"] = encoded(b"GIF89a and no more")
        with pytest.raises(anthropic.BadRequestError, match="image 0"):
            client.messages.create(model=seer, messages=messages, max_tokens=6)
    taken = answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0)
    assert count.input_tokens == taken > 64


def test_command_line_takes_the_files_of_a_prompt(server: World, seer: str, tmp_path: Path) -> None:
    path = tmp_path / "a camel.png"
    path.write_bytes(FIRST)
    seen = server.cama("run", seer, f"what is in {path}", "--verbose")
    assert seen.returncode == 0, seen.stderr
    assert f"Added image '{path}'" in seen.stderr
    blind = server.cama("run", seer, "what is in", "--verbose")
    counts = [_count(run.stderr) for run in (seen, blind)]
    assert counts[0] - counts[1] >= 64
    path.write_bytes(b"no picture")
    refused = server.cama("run", seer, f"what is in {path}")
    assert refused.returncode == 1
    assert "Couldn't process file" in refused.stderr


def _count(timings: str) -> int:
    (line,) = [line for line in timings.splitlines() if line.startswith("prompt eval count")]
    return int(line.split()[3])


def test_hostile_images_leave_the_runner_as_it_is(
    server: World, client: ollama.Client, seer: str
) -> None:
    client.generate(seer, "x", images=[FIRST])
    n_loads = _n_loads(server)
    hostile = [b"\0", os.urandom(64), FIRST[:50], FIRST[:20] + os.urandom(99), b"\xff\xd8\xff\xe0"]
    for image in hostile:
        with pytest.raises(ollama.ResponseError) as caught:
            client.generate(seer, "x", images=[image])
        assert caught.value.status_code == 400
        assert "image 0" in caught.value.error
    client.generate(seer, "x", images=[FIRST])
    assert _n_loads(server) == n_loads


def test_a_projector_that_ends_the_runner_does_not_end_the_server(
    server: World, client: ollama.Client, seer: str, tiny_model: Callable[..., Path]
) -> None:
    whole = make_projector(server.home / "whole.gguf", "qwen2vl_merger")
    broken = rewrite(whole, server.home / "broken.gguf", {"clip.projector_type": "qwen3vl_merger"})
    modelfile = server.home / "Broken"
    modelfile.write_text(f"FROM {tiny_model('llama', 'Q8_0')}\nFROM {broken}\n")
    assert server.cama("create", "broken", "-f", str(modelfile)).returncode == 0
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate("broken", "x", images=[FIRST])
    assert caught.value.status_code == 500
    assert "unexpectedly stopped" in caught.value.error
    assert client.generate(seer, "x", images=[FIRST]).response


def _n_loads(server: World) -> int:
    """How many runners have loaded a model so far."""
    return (server.home / "server.log").read_text().count("engine=llama")
