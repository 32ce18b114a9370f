"""Without a network: nothing is asked of other machines, and users are told how to go on."""

from cama.core.errors import Offline
from cama.core.settings import Settings


def require_online(settings: Settings, name: str) -> None:
    """Raise Offline, which says how a model comes here, when no request may leave this machine."""
    if settings.offline:
        raise Offline(
            f"{name} is not fetched, for CAMA_OFFLINE is set. Copy a GGUF file here and name its "
            "path (or its folder in CAMA_MODEL_PATH), or copy the folders blobs and manifests of "
            f"another machine's store into {settings.models}",
            name=name,
        )
