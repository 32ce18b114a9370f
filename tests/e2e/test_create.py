"""Models made by the command line: in the store of this machine, and by a server elsewhere."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import ollama
import pytest

from cama.gguf import GGUFFile
from tests.e2e.conftest import COMMAND, World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

MakeModel = Callable[..., Path]


def elsewhere(world: World, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command whose server it cannot know to be on this machine, with another home."""
    environment = world.environment | {
        "CAMA_HOST": f"0.0.0.0:{world.port}",
        "HOME": str(folder / "home"),
    }
    return subprocess.run(
        [*COMMAND, *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_create_sends_files_to_a_server_elsewhere(
    server: World, tiny_model: MakeModel, tmp_path: Path
) -> None:
    model = tiny_model("llama", "F16")
    (tmp_path / "Modelfile").write_text(f"FROM {model}\nSYSTEM Be brief.\nPARAMETER top_k 7\n")
    for is_new in (True, False):
        made = elsewhere(server, "create", "there", "-q", "q8_0", folder=tmp_path)
        assert made.returncode == 0, made.stderr
        said = made.stderr.splitlines()
        assert any(line.startswith("copying file sha256:") for line in said) == is_new
        assert "quantizing F16 model to Q8_0" in said
        assert said[-1] == "success"
    shown = httpx.post(f"{server.url}/api/show", json={"model": "there"}).json()
    assert (shown["system"], shown["details"]["quantization_level"]) == ("Be brief.", "Q8_0")
    assert not (tmp_path / "home" / ".ollama").exists()
    answer = httpx.post(
        f"{server.url}/api/generate",
        json={"model": "there", "prompt": "a", "stream": False, "options": {"num_predict": 2}},
        timeout=60,
    )
    assert answer.json()["done"] is True


def test_what_a_server_elsewhere_refuses_is_one_line(
    server: World, tiny_model: MakeModel, tmp_path: Path
) -> None:
    (tmp_path / "Modelfile").write_text(f"FROM {tiny_model('llama', 'Q8_0')}\n")
    made = elsewhere(server, "create", "there", "-q", "q4_0", folder=tmp_path)
    assert made.returncode == 1
    assert made.stderr.splitlines()[-1] == (
        "Error: quantization is only supported for F16, BF16 and F32 models"
    )


def test_create_here_quantizes_without_a_server(
    world: World, tiny_model: MakeModel, tmp_path: Path
) -> None:
    modelfile = tmp_path / "Recipe"
    modelfile.write_text(f"FROM {tiny_model('llama', 'F16')}\n")
    made = world.cama("create", "small", "-f", str(modelfile), "-q", "Q4_K_M")
    assert made.returncode == 0, made.stderr
    blobs = world.home / ".ollama" / "models" / "blobs"
    files = [path for path in blobs.iterdir() if path.stat().st_size > 100_000]
    assert len(files) == 1
    with GGUFFile.open(files[0]) as file:
        assert file.file_type_name == "Q4_K_M"
    assert not [name for name in os.listdir(blobs) if "tmp" in name]


def test_quantize_writes_a_file_or_nothing(
    world: World, tiny_model: MakeModel, tmp_path: Path
) -> None:
    source, out = str(tiny_model("llama", "F16")), tmp_path / "out.gguf"
    done = world.cama("quantize", source, str(out), "q5_k_m")
    assert done.returncode == 0, done.stderr
    with GGUFFile.open(out) as file:
        assert file.file_type_name == "Q5_K_M"
    refused = world.cama("quantize", str(out), str(tmp_path / "again.gguf"), "q4_0")
    assert refused.returncode == 1
    assert "only supported for F16, BF16 and F32" in refused.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ""] == ["out.gguf"]


@pytest.fixture
def client(server: World) -> Iterator[ollama.Client]:
    client = ollama.Client(server.url, trust_env=False)
    yield client
    client._client.close()


def test_ollamas_client_creates_models(client: ollama.Client, tiny_model: MakeModel) -> None:
    digest = client.create_blob(tiny_model("llama", "F16"))
    statuses = [
        part.status
        for part in client.create(
            "by-client",
            files={"model.gguf": digest},
            quantize="q4_K_M",
            system="Be brief.",
            parameters={"temperature": 0.5},
            messages=[ollama.Message(role="user", content="Hello")],
            stream=True,
        )
    ]
    assert statuses[-1] == "success"
    assert client.create("again", from_="by-client", license="MIT").status == "success"
    shown = client.show("again")
    assert shown.license == "MIT"
    assert shown.details is not None
    assert shown.details.quantization_level == "Q4_K_M"
    assert "SYSTEM Be brief." in (shown.modelfile or "")
    with pytest.raises(ollama.ResponseError, match="unsupported quantization type"):
        client.create("bad", from_="by-client", quantize="q9")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_sees_bars(world: World, tiny_model: MakeModel, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [*COMMAND, "quantize", str(tiny_model("llama", "F16")), str(tmp_path / "o"), "q8_0"]
    process = subprocess.Popen(command, env=world.environment | {"TERM": "xterm"}, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how the end of a terminal reads on Linux
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert process.wait(60) == 0
    assert b"100%" in shown
    assert b"\x1b[" in shown
