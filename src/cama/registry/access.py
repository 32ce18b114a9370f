"""What a user's transfers may use: keys, logins, and how long they may take."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cama.core.errors import Offline
from cama.core.settings import Settings
from cama.registry.patience import Patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """``keys`` are the places of the user's Ed25519 key, the first of which is used if it exists,
    and the last else; ``docker_config`` is the folder that ``docker login`` writes to.

    ``insecure`` means http, ``offline`` that nothing may leave this machine.
    """

    keys: tuple[Path, ...]
    docker_config: Path
    insecure: bool = False
    offline: bool = False
    patience: Patience = field(default_factory=Patience)

    def check(self) -> None:
        """Raises Offline, which says how a model comes here without a network."""
        if self.offline:
            raise Offline(
                "CAMA_OFFLINE is set: no request is sent to other machines. Copy a GGUF file here "
                "and name its path, or copy the folders blobs and manifests of another machine's "
                "store into that of CAMA_MODELS"
            )

    @classmethod
    def of(cls, settings: Settings, *, insecure: bool, patience: Patience) -> Self:
        """That of a user with these settings; Ollama's key, which hosts may know, goes first."""
        name = "id_ed25519"
        return cls(
            keys=(Path.home() / ".ollama" / name, settings.home / name),
            docker_config=settings.docker_config,
            insecure=insecure,
            offline=settings.offline,
            patience=patience,
        )
