"""What computes with Cama's kernels, and without."""

from collections.abc import Iterator

import pytest

from benchmarks.products import Processor
from cama.ggml.library import own_kernels


@pytest.fixture(scope="module")
def processors() -> Iterator[tuple[Processor, Processor]]:
    if not own_kernels().name:
        pytest.skip(f"no kernels on this machine: {own_kernels().reason}")
    both = Processor(2, has_kernels=True), Processor(2, has_kernels=False)
    yield both
    for processor in both:
        processor.close()


@pytest.fixture(scope="module")
def own(processors: tuple[Processor, Processor]) -> Processor:
    return processors[0]
