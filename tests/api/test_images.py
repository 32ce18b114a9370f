"""Images: read, placed in the prompt, and refused where nobody looks at them."""

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.core.errors import InvalidRequest
from cama.gguf import GGMLType, TensorSource, write_gguf
from cama.gguf.values import U32
from cama.store.store import Store
from cama.wire.images import read_images
from tests.api.conftest import CHAT_TEMPLATE, Create, write
from tests.api.fakes import FakeRunner, FakeScheduler, runner_info

IMAGE = base64.b64encode(b"not really").decode()


@pytest.fixture
def seer(store: Store, tmp_path: Path) -> str:
    """A model whose file holds a part that sees."""
    blocks = {"llama.block_count": U32(1), "llama.vision.block_count": U32(2)}
    metadata = blocks | {"tokenizer.chat_template": CHAT_TEMPLATE}
    write(store, tmp_path, "seer", metadata)
    return "seer"


async def rendered(
    api: httpx.AsyncClient, path: str = "/api/chat", **fields: Any
) -> tuple[str, int]:
    body = {"stream": False, "_debug_render_only": True, **fields}
    response = await api.post(path, json=body)
    assert response.status_code == 200, response.text
    info = response.json()["_debug_info"]
    return info["rendered_template"], info.get("image_count", 0)


def user(content: str, n_images: int = 0) -> dict[str, Any]:
    return {"role": "user", "content": content, "images": [IMAGE] * n_images}


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([user("Hi", 1)], "[user][img-0]Hi"),
        ([user("Hi", 2)], "[user][img-0][img-1]Hi"),
        ([user("a [img] b", 1)], "[user]a [img-0] b"),
        ([user("a [img] b [img] c", 2)], "[user]a [img-0] b [img-1] c"),
        ([user("a [img] b", 2)], "[user][img-1]a [img-0] b"),
        ([user("a", 1), user("b [img]", 1)], "[user][img-0]a[user]b [img-1]"),
        ([user("a [img] b")], "[user]a [img] b"),
    ],
)
async def test_images_have_a_place_in_the_prompt(
    api: httpx.AsyncClient, seer: str, messages: list[dict[str, Any]], text: str
) -> None:
    n_images = sum(len(message["images"]) for message in messages)
    found = await rendered(api, model=seer, messages=messages)
    assert found == (f"<s>{text}[assistant]", n_images)


async def test_images_of_generate_belong_to_its_prompt(api: httpx.AsyncClient, seer: str) -> None:
    found = await rendered(api, "/api/generate", model=seer, prompt="Hi", images=[IMAGE])
    assert found == ("<s>[user][img-0]Hi[assistant]", 1)


async def test_images_count_when_messages_are_left_out(
    api: httpx.AsyncClient, seer: str, runner: FakeRunner
) -> None:
    runner.info = runner_info(n_ctx=2000)
    turns = [user("a", 1), user("b", 1), user("c", 1)]
    found = await rendered(api, model=seer, messages=turns)
    assert found == ("<s>[user][img-0]b[user][img-1]c[assistant]", 2)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize(
    ("image", "text"),
    [
        ("a*b=", "illegal base64 data at input byte 1"),
        ("data:image/png;base64,aGk=", "illegal base64 data at input byte 4"),
        ("aGk", "illegal base64 data at input byte 0"),
        (7, "json: cannot unmarshal number into Go value of type []uint8"),
    ],
)
async def test_images_that_are_none(
    api: httpx.AsyncClient, seer: str, path: str, image: object, text: str
) -> None:
    content = {"prompt": "Hi", "images": [image]}
    body = content | {"model": seer, "messages": [{"role": "user", "content": "", **content}]}
    response = await api.post(path, json=body)
    assert (response.status_code, response.json()["error"]) == (400, text)


async def test_images_need_a_model_that_sees(api: httpx.AsyncClient) -> None:
    body = {"model": "chatty", "messages": [user("Hi", 1)]}
    response = await api.post("/api/chat", json=body)
    assert response.status_code == 400
    assert response.json()["error"] == (
        "registry.ollama.ai/library/chatty:latest does not support vision"
    )


async def test_images_are_refused_where_no_engine_looks_at_them(
    api: httpx.AsyncClient, seer: str, runner: FakeRunner
) -> None:
    response = await api.post("/api/chat", json={"model": seer, "messages": [user("Hi", 1)]})
    assert response.status_code == 400
    assert "sees is inside of its file, which no engine here runs" in response.json()["error"]
    assert not runner.generations
    plain = await api.post("/api/chat", json={"model": seer, "messages": [user("Hi")]})
    assert plain.status_code == 200


@pytest.fixture
def both(store: Store, tmp_path: Path, create: Create) -> str:
    """A model with a projector beside it."""
    kind = {"general.architecture": "clip", "general.type": "mmproj"}
    weights = TensorSource("v.patch_embd.weight", GGMLType.F32, (4, 4), bytes(64))
    write_gguf(tmp_path / "eyes.gguf", kind | {"clip.vision.block_count": U32(1)}, [weights])
    create("both", f"FROM {tmp_path / 'eyes.gguf'}")
    return "both"


async def test_images_come_to_the_runner_with_their_marks(
    api: httpx.AsyncClient, both: str, runner: FakeRunner
) -> None:
    messages = [user("a", 1), user("b [img] c", 2)]
    response = await api.post("/api/chat", json={"model": both, "messages": messages})
    assert response.status_code == 200, response.text
    (generation,) = runner.generations
    assert generation.prompt == "<s>[user][img-0]a[user][img-2]b [img-1] c[assistant]"
    assert generation.images == (IMAGE,) * 3


async def test_an_answer_to_images_has_no_ids_to_continue(
    api: httpx.AsyncClient, both: str, runner: FakeRunner
) -> None:
    body = {"model": both, "prompt": "Hi", "images": [IMAGE], "stream": False}
    response = await api.post("/api/generate", json=body)
    assert response.status_code == 200, response.text
    assert "context" not in response.json()
    refused = await api.post("/api/generate", json=body | {"context": [1, 2]})
    assert refused.status_code == 400
    assert runner.generations[0].images == (IMAGE,)


async def test_a_model_with_a_projector_is_loaded_with_it(
    api: httpx.AsyncClient, both: str, scheduler: FakeScheduler, tmp_path: Path
) -> None:
    body = {"model": both, "messages": [user("Hi")], "options": {"num_ctx": 512}}
    await api.post("/api/chat", json=body)
    ((spec, _),) = scheduler.leases
    assert spec.load.projector is not None
    assert spec.load.projector.read_bytes() == (tmp_path / "eyes.gguf").read_bytes()
    assert spec.load.context_for(4096) == 2048
    plan = (await api.post("/api/plan", json={"model": both})).json()
    assert [one["bytes"] for one in plan["items"] if one["kind"] == "projector"] == [64]


async def test_a_request_has_so_many_images_at_most(
    api: httpx.AsyncClient, both: str, runner: FakeRunner
) -> None:
    response = await api.post("/api/chat", json={"model": both, "messages": [user("Hi", 65)]})
    assert response.status_code == 400
    assert response.json()["error"] == "65 images; a request may have 64"
    assert not runner.generations


async def test_models_that_see_say_so(api: httpx.AsyncClient, seer: str, both: str) -> None:
    for name in (seer, both):
        shown = (await api.post("/api/show", json={"model": name})).json()
        assert shown["capabilities"] == ["completion", "vision"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("YQ", 0), ("YWFhYQ", 4), ("Y", 0), ("=", 0), ("Y=", 1), ("YQ=", 3), ("YQ=a", 3),
        ("YQ==a", 4), ("YWE=YWE=", 4), ("YW\nF?", 4), ("YWFh\r\nYQ", 6), ("-_", 0), ("YQ= =", 3),
    ],
)  # fmt: skip
def test_base64_errors_are_where_go_finds_them(text: str, at: int) -> None:
    with pytest.raises(InvalidRequest, match=f"illegal base64 data at input byte {at}$"):
        read_images([text])


@given(st.binary(max_size=40), st.sampled_from(["", "\n", "\r\n"]))
def test_base64_of_anything_is_read(data: bytes, end: str) -> None:
    text = base64.b64encode(data).decode()
    assert read_images([end.join([text[:4], text[4:], ""])]) == (text,)
