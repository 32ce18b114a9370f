"""``cama devices``: what computes here, and why Cama's kernels do not where they do not."""

import json
import sys
from typing import Annotated, Any

import typer

from cama.cli.human import size
from cama.cli.table import table
from cama.runner.jobs import Jobs


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    found = Jobs().run("cama.runner.surveying", {})
    if as_json:
        print(json.dumps(found))
    else:
        sys.stdout.write(_report(found))


def _report(found: dict[str, Any]) -> str:
    rows = [
        (device["name"], device["kind"], device["description"], _memory(device))
        for device in found["devices"]
    ]
    kernels = found["kernels"]
    said = f"in use ({kernels['name']})" if kernels["name"] else f"not in use: {kernels['reason']}"
    return f"{table(('NAME', 'KIND', 'DESCRIPTION', 'FREE'), rows)}\nKernels of Cama: {said}\n"


def _memory(device: dict[str, Any]) -> str:
    """Accelerators have none of their own."""
    free, total = device["free_bytes"], device["total_bytes"]
    return f"{size(free)} of {size(total)}" if total else "-"
