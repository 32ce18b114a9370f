"""A job that writes its target, says so, and goes on until it is ended."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cama.runner.job import Report, main


def work(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    Path(request["target"]).write_bytes(b"half of it")
    report("writing", 1, 2)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main(work)
