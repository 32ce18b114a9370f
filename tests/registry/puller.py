"""A process that pulls one model: ``puller.py NAME ROOT PART_BYTES``."""

import sys
from pathlib import Path

from cama.core.errors import CamaError
from cama.registry import download
from cama.registry.access import Access
from cama.registry.patience import Patience
from cama.registry.pull import pull
from cama.store import partials
from cama.store.names import ModelName
from cama.store.store import Store


def main(name: str, root: Path, part_bytes: int) -> None:
    partials.PART_BYTES = part_bytes
    download._NOTE_BYTES = part_bytes // 8
    access = Access(
        keys=(root / "key",),
        docker_config=root / "docker",
        insecure=True,
        patience=Patience(pause=0.01),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    pull(ModelName.parse(name), Store(root), access, lambda progress: None)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    except CamaError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")
