"""``python -m cama.runner.surveying``: the devices that ggml finds, as a job of its own."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cama.runner.job import Report, main


def survey(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    from cama.ggml.backend import devices
    from cama.ggml.library import own_kernels

    found = [{**asdict(device), "kind": device.kind} for device in devices()]
    for device in found:
        del device["address"], device["type"]
    return {"devices": found, "kernels": asdict(own_kernels())}


if __name__ == "__main__":
    main(survey)
