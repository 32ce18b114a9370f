"""Pull a model over loopback, against ``curl`` and ``sha256sum`` of the same blob.

    python -m benchmarks.pull --megabytes 1024 --rounds 5

Needs Debian's docker-registry and curl. Sides take turns in one run; the ratio is of the medians.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cama.registry.access import Access
from cama.registry.pull import pull
from cama.registry.push import push
from cama.store.manifest import Manifest, MediaType
from cama.store.names import ModelName
from cama.store.store import Store
from tests.registry.servers import running_registry

WANTED = 0.8
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bench:
    folder: Path
    name: ModelName
    access: Access
    digest: str

    def pull(self) -> None:
        target = self.folder / "target"
        pull(self.name, Store(target), self.access, lambda progress: None)
        shutil.rmtree(target)

    def fetch(self) -> None:
        """What a careful user would do by hand."""
        path = self.folder / "fetched"
        url = f"http://{self.name.host}/v2/{self.name.namespace}/{self.name.model}/blobs/"
        subprocess.run(["curl", "-sf", "-o", str(path), url + self.digest], check=True)
        command = ["sha256sum", str(path)]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert found.split()[0] == self.digest.removeprefix("sha256:")
        path.unlink()


def make_model(store: Store, name: ModelName, megabytes: int) -> str:
    """A model of noise; returns the digest of its weights."""
    with store.staging() as staging:
        incoming = staging.open()
        for _ in range(megabytes):
            incoming.write(os.urandom(_CHUNK_BYTES))
        weights = staging.accept(incoming).layer(MediaType.MODEL)
        config = staging.add_bytes(b'{"model_format":"gguf"}').layer(MediaType.CONFIG)
        store.publish(name.full, Manifest(config=config, layers=(weights,)), staging)
    return weights.digest


def seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as text:
        folder = Path(text)
        with running_registry(folder) as registry:
            run(folder, ModelName(registry.host, "bench", "m", "latest"), arguments)


def run(folder: Path, name: ModelName, arguments: argparse.Namespace) -> None:
    access = Access(keys=(folder / "key",), docker_config=folder, insecure=True)
    source = Store(folder / "source")
    digest = make_model(source, name, arguments.megabytes)
    push(name, source, access, lambda progress: None)
    bench = Bench(folder, name, access, digest)
    bench.fetch()
    times: dict[str, list[float]] = {"pull": [], "curl + sha256sum": []}
    for _ in range(arguments.rounds):
        times["pull"].append(seconds(bench.pull))
        times["curl + sha256sum"].append(seconds(bench.fetch))
    medians = {side: statistics.median(values) for side, values in times.items()}
    for side, median in medians.items():
        print(f"{side:<18}{median:7.2f} s  {arguments.megabytes / median:7.0f} MiB/s")
    ratio = medians["curl + sha256sum"] / medians["pull"]
    print(f"ratio {ratio:.2f} (wanted: at least {WANTED})")


if __name__ == "__main__":
    main()
