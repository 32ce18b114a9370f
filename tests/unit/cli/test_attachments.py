"""Files that prompts name."""

from base64 import b64encode
from pathlib import Path

import pytest

from cama.cli.attachments import attached, begins_with_file
from cama.cli.session import Session
from cama.core.errors import InvalidInput

PNG = b"\x89PNG\r\n\x1a\n and so on"
JPEG = b"\xff\xd8\xff and so on"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "
WAVE = b"RIFF\x00\x00\x00\x00WAVEfmt "


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "a.png": PNG, "b.JPG": JPEG, "c d.webp": WEBP, "e.wav": WAVE, "it's.png": PNG,
        "no.png": b"x",
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("prompt", "text", "files"),
    [
        ("what is in ./a.png", "what is in", [PNG]),
        ("./a.png what is it?", "what is it?", [PNG]),
        ("compare ./a.png and ./b.JPG please", "compare  and  please", [PNG, JPEG]),
        ("see './a.png'!", "see !", [PNG]),
        ("see ./c d.webp", "see", [WEBP]),
        (r"see ./c\ d.webp", "see", [WEBP]),
        (r"see ./it\'s.png", "see", [PNG]),
        ("hear ./e.wav", "hear", [WAVE]),
        ("see ./a.png and ./a.png", "see  and", [PNG]),
        ("see ./gone.png ", "see ./gone.png ", []),
        ("see a.png", "see a.png", []),
        ("see ./a.pngs", "see ./a.pngs", []),
        ("either/or and 3./4.", "either/or and 3./4.", []),
        ("./inside ", "./inside ", []),
        ("/" + "x" * 5000 + ".png", "/" + "x" * 5000 + ".png", []),
    ],
)
def test_files_are_taken_out_of_a_prompt(prompt: str, text: str, files: list[bytes]) -> None:
    found = attached(prompt)
    assert found.text == text
    assert found.images == tuple(b64encode(data).decode() for data in files)


def test_absolute_paths_and_those_above_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    assert attached(f"see {path}").images
    assert capsys.readouterr().err == f"Added image '{path}'\n"
    assert begins_with_file(f"{path} what is it?")
    assert not begins_with_file("/show info")
    monkeypatch.chdir(tmp_path / "inside")
    assert attached("see ../a.png").text == "see"


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r'Couldn\'t process file: "invalid file type: no.png"'):
        attached("see ./no.png")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate((100 << 20) + 1)
    with pytest.raises(InvalidInput, match=r"exceeds maximum limit \(100MB\)"):
        attached("see ./huge.png")


def test_only_models_that_see_get_files() -> None:
    blind = Session(model="m", capabilities=("completion",))
    assert blind.generation("see ./a.png")["prompt"] == "see ./a.png"
    assert blind.asked("see ./a.png") == {"role": "user", "content": "see ./a.png"}
    sees = Session(model="m", capabilities=("completion", "vision"))
    body = sees.generation("see ./a.png")
    assert (body["prompt"], body["images"]) == ("see", (b64encode(PNG).decode(),))
    asked = sees.asked("see ./a.png")
    sees.record(asked, {"role": "assistant", "content": "a camel"})
    assert sees.turn(sees.asked("and now?"))["messages"][0] == asked
    saved = sees.saving("other", {})
    assert saved["messages"][0] == {"role": "user", "content": "see"}
