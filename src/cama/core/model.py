"""What the scheduler needs to know of a model to run it."""

from dataclasses import dataclass, field
from pathlib import Path

from cama.core.load import LoadOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model to load: two specs with the same ``key`` share a runner when their options agree.

    ``key`` is the path of the weights (several names of one file share it); ``name`` the canonical
    short name and ``digest`` the hexadecimal digest, for display; ``weights_bytes`` the size of the
    file and of its draft model's; ``memory_bytes`` what a runner is expected to take in all.
    """

    name: str
    path: Path
    digest: str
    weights_bytes: int
    memory_bytes: int = 0
    load: LoadOptions = field(default_factory=LoadOptions)

    @property
    def key(self) -> str:
        return str(self.path)
