"""``cama devices``, with the real child that looks for them."""

import json

import pytest

from cama.cli.main import execute


def test_devices_name_the_cpu_and_tell_of_the_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["devices"]) == 0
    out = capsys.readouterr().out
    assert any(line.split()[:2] == ["CPU", "cpu"] for line in out.splitlines())
    assert "Kernels of Cama: " in out


def test_devices_say_why_there_are_no_kernels(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMA_KERNELS", "off")
    assert execute(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kernels"]["name"] == ""
    assert found["kernels"]["reason"] in ("CAMA_KERNELS is off", "they are not built")
    assert [device["kind"] for device in found["devices"]].count("accelerator") == 0
