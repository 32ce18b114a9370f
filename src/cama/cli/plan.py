"""``cama plan``: what a model would take of this machine, before it is loaded."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from cama.cli.background import connect
from cama.cli.reference import model_reference
from cama.cli.table import columns
from cama.client.fields import integer, objects, text
from cama.core.settings import Settings
from cama.core.size import gibibytes

_KINDS = {
    "weights": "weights, mapped from the file",
    "projector": "projector, with one image",
    "full": "cache, every token seen",
    "window": "cache, a window seen, every token kept",
    "mla": "cache, compressed (MLA)",
    "states": "running states",
    "compute": "compute buffers",
    "process": "process and vocabulary",
}


def command(  # noqa: PLR0917 - one parameter per flag
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    context: Annotated[int, typer.Option("--ctx", help="Context of one request, in tokens")] = 0,
    parallel: Annotated[int, typer.Option("--parallel", help="Requests at the same time")] = 0,
    cache_type: Annotated[str, typer.Option("--cache-type", help="Type of the KV cache")] = "",
    memory: Annotated[str, typer.Option("--memory", help="Plan for so much, such as 8GB")] = "",
    gpu: Annotated[str, typer.Option("--gpu", help="Free memory of GPUs: 24GB,24GB")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON")] = False,
) -> None:
    asked = {"model": model_reference(model), "parallel": parallel, "cache_type": cache_type}
    asked |= {"options": {"num_ctx": context}} if context else {}
    asked |= {"memory": memory} if memory else {}
    asked |= {"devices": _gpus(gpu)} if gpu else {}
    plan = connect(Settings.load()).plan(asked)
    print(json.dumps(plan, indent=2) if as_json else described(plan), end="\n" if as_json else "")


def _gpus(sizes: str) -> list[dict[str, str]]:
    """The devices that a list of sizes means, by number."""
    return [{"name": f"GPU{i}", "free": size} for i, size in enumerate(sizes.split(","))]


def described(plan: Mapping[str, Any]) -> str:
    """The plan as a table with its sum, the devices where there are several, and the reason."""
    lines = [
        f"{text(plan, 'model')}: context {integer(plan, 'context_length')}, "
        f"{integer(plan, 'parallel')} requests at once, {integer(plan, 'cells')} cells "
        f"of {text(plan, 'cache_type')}\n\n",
        columns(list(_rows(plan)), indent="  "),
    ]
    devices = objects(plan, "devices")
    if len(devices) > 1:
        lines += ["\n", columns([_device(device) for device in devices], indent="  ")]
    verdict = "fits" if plan.get("fits") else "does not fit"
    return "".join([*lines, f"\n{verdict}: {text(plan, 'reason')}\n"])


def _rows(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for item in objects(plan, "items"):
        of = "draft: " if text(item, "of") == "draft" else ""
        kind, n_layers = text(item, "kind"), integer(item, "layers")
        layers = _layers(n_layers) if n_layers else ""
        yield of + _KINDS.get(kind, kind), layers, _size(integer(item, "bytes"))
    several = len(objects(plan, "devices")) > 1
    label = "in all, with compute buffers on each device" if several else "in all"
    yield label, "", _size(integer(plan, "required"))


def _device(device: Mapping[str, Any]) -> tuple[str, str, str]:
    output = " and the output" if device.get("output") else ""
    taken, free = (_size(integer(device, key)) for key in ("required", "available"))
    layers = _layers(integer(device, "layers")) + output
    return text(device, "name"), layers, f"{taken} of {free}"


def _layers(n: int) -> str:
    return "1 layer" if n == 1 else f"{n} layers"


def _size(n_bytes: int) -> str:
    return gibibytes(n_bytes) if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"
