"""Images: read, placed in the prompt, and refused where nobody looks at them."""

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.core.errors import InvalidRequest
from cama.gguf import write_gguf
from cama.gguf.values import U32
from cama.store.store import Store
from cama.wire.images import read_images
from tests.api.conftest import CHAT_TEMPLATE, Create, write
from tests.api.fakes import FakeRunner, runner_info

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
    assert "no engine here runs the projector" in response.json()["error"]
    assert not runner.generations
    plain = await api.post("/api/chat", json={"model": seer, "messages": [user("Hi")]})
    assert plain.status_code == 200


async def test_models_that_see_say_so(
    api: httpx.AsyncClient, seer: str, store: Store, tmp_path: Path, create: Create
) -> None:
    projector = tmp_path / "projector.gguf"
    kind = {"general.architecture": "clip", "general.type": "mmproj"}
    write_gguf(projector, kind | {"clip.vision.block_count": U32(1)}, [])
    create("both", f"FROM {projector}")
    for name in (seer, "both"):
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
