"""GET /v1/models: what OpenAI tells of a model."""

from collections.abc import Sequence
from datetime import datetime

from cama.wire.framing import Reply


def model_reply(name: str, owner: str, modified_at: datetime) -> Reply:
    return {
        "id": name,
        "object": "model",
        "created": int(modified_at.timestamp()),
        "owned_by": owner,
    }


def models_reply(models: Sequence[Reply]) -> Reply:
    return {"object": "list", "data": list(models)}
