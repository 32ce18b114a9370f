"""``cama doctor``: look for what is damaged, missing or left over in the store, and mend it."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from cama.cli import human
from cama.cli.terminal import clean, is_terminal
from cama.core.settings import Settings
from cama.store.findings import Examination, Finding, Remedy
from cama.store.mending import quarantine
from cama.store.store import Store

_PROPOSED = {
    Remedy.QUARANTINE: "--fix moves it to quarantine",
    Remedy.DELETE: "--fix deletes it",
    Remedy.RENAME: "--fix renames it",
    Remedy.PERMIT: "--fix makes it readable",
    Remedy.NONE: "",
}
_DONE = {
    Remedy.QUARANTINE: "moved to quarantine",
    Remedy.DELETE: "deleted",
    Remedy.RENAME: "renamed",
    Remedy.PERMIT: "made readable",
    Remedy.NONE: "",
}


def command(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read whole files")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report in JSON")] = False,
) -> None:
    """The status is 1 when a problem remains; leftovers are none."""
    store = Store.of(Settings.load())
    with _Meter() as meter:
        found = store.examine(meter.add, reads_blobs=not quick)
    mended = store.mend(found.findings) if fix and found.findings else []
    report = _json(store, found, mended) if as_json else _text(store, found, mended)
    sys.stdout.write(report)
    if any(not f.is_leftover and f not in mended for f in found.findings):
        raise typer.Exit(1)


class _Meter:
    """How much was read, on a terminal."""

    _STEP_BYTES = 64 << 20

    def __init__(self) -> None:
        self._is_shown = is_terminal(sys.stderr)
        self._n_bytes = 0
        self._shown = 0

    def __enter__(self) -> "_Meter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def add(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if self._is_shown and self._n_bytes - self._shown >= self._STEP_BYTES:
            self._shown = self._n_bytes
            text = f"\r\x1b[Kreading the store: {human.size(self._n_bytes)}"
            print(text, end="", file=sys.stderr, flush=True)


def _text(store: Store, found: Examination, mended: list[Finding]) -> str:
    counts = f"{_counted(found.n_models, 'model')}, {_counted(found.n_blobs, 'blob')}"
    lines = [f"{store.root}: {counts}, {human.size(found.n_bytes)}"]
    for title, is_leftover in (("Problems", False), ("Leftovers", True)):
        findings = [f for f in found.findings if f.is_leftover == is_leftover]
        if findings:
            lines += ["", title, *(line for f in findings for line in _lines(store, f, mended))]
    if not any(not f.is_leftover for f in found.findings):
        lines += ["", "No problems found."]
    if any(f.remedy is Remedy.QUARANTINE for f in mended):
        lines += ["", f"Quarantine: {quarantine(store.root)}"]
    return "".join(f"{clean(line)}\n" for line in lines)


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _lines(store: Store, finding: Finding, mended: list[Finding]) -> Iterator[str]:
    size = f" ({human.size(finding.size)})" if finding.is_leftover else ""
    yield f"  {finding.path.relative_to(store.root)}{size}"
    then = (_DONE if finding in mended else _PROPOSED)[finding.remedy]
    yield f"    {finding.text}{f'; {then}' if then else ''}"


def _json(store: Store, found: Examination, mended: list[Finding]) -> str:
    findings = [
        {
            "kind": finding.kind,
            "path": str(finding.path),
            "text": finding.text,
            "remedy": str(finding.remedy),
            "size": finding.size,
            "leftover": finding.is_leftover,
            "mended": finding in mended,
        }
        for finding in found.findings
    ]
    report = {
        "store": str(store.root),
        "models": found.n_models,
        "blobs": found.n_blobs,
        "bytes": found.n_bytes,
        "findings": findings,
    }
    return json.dumps(report, indent=2) + "\n"
