"""``cama doctor`` as a user sees it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.cli.main import execute

Damage = Callable[[], Path]


def put(folder: Path, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"sha256-{digest}").write_bytes(data)
    return {"mediaType": "x", "digest": f"sha256:{digest}", "size": len(data)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "models"
    monkeypatch.setenv("CAMA_MODELS", str(root))
    config, weights = put(root / "blobs", b"{}"), put(root / "blobs", b"GGUF")
    manifest = root / "manifests" / "registry.ollama.ai" / "library" / "m" / "latest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"config": config, "layers": [weights]}))
    return root


@pytest.fixture
def damage(root: Path) -> Damage:
    def make() -> Path:
        blob = root / "blobs" / f"sha256-{hashlib.sha256(b'GGUF').hexdigest()}"
        blob.write_bytes(b"FUGG")
        return blob

    return make


def test_doctor_finds_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["doctor"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{root}: 1 model, 2 blobs, 6 B\n\nNo problems found.\n"
    assert captured.err == ""


def test_doctor_says_what_it_would_do(damage: Damage, capsys: pytest.CaptureFixture[str]) -> None:
    blob = damage()
    assert execute(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"  blobs/{blob.name}" in lines
    assert (
        "    is damaged: its content does not match its name; --fix moves it to quarantine" in lines
    )
    assert blob.read_bytes() == b"FUGG"


def test_doctor_mends(damage: Damage, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blob = damage()
    assert execute(["doctor", "--fix"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "    is damaged: its content does not match its name; moved to quarantine" in lines
    assert lines[-1] == f"Quarantine: {root}/.cama/quarantine"
    assert not blob.exists()
    assert execute(["doctor"]) == 0


def test_doctor_reports_in_json(damage: Damage, capsys: pytest.CaptureFixture[str]) -> None:
    blob = damage()
    assert execute(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["models"], report["blobs"], report["bytes"]) == (1, 2, 2)
    first = report["findings"][0]
    assert (first["kind"], first["path"]) == ("damaged-blob", str(blob))
    assert (first["remedy"], first["mended"], first["leftover"]) == ("quarantine", False, False)


def test_doctor_can_be_quick(damage: Damage) -> None:
    damage()
    assert execute(["doctor", "--quick"]) == 0


def test_doctor_takes_leftovers_for_no_problem(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(root / "blobs", b"unused")
    assert execute(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "Leftovers" in out
    assert "is used by no model yet" in out
