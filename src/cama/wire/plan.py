"""Cama's own request for a plan of memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from cama.core.errors import InvalidOption, InvalidRequest
from cama.core.load import CACHE_TYPES
from cama.core.size import parse_size
from cama.wire import shapes
from cama.wire.decode import Fields
from cama.wire.requests import ModelRequest, model_fields
from cama.wire.schema import As, Range

_CACHE_TYPES = ("", *CACHE_TYPES)
_MAX_PARALLEL = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest(ModelRequest):
    """``parallel`` and ``cache_type`` stand for settings of the server where they are given;
    ``memory`` is how many bytes count as available, ``devices`` what GPUs have free, by name.
    """

    struct: ClassVar[str] = "PlanRequest"

    parallel: Annotated[int, Range(0, _MAX_PARALLEL)]
    cache_type: str
    memory: Annotated[int | None, As(int | str)]
    devices: Annotated[Mapping[str, int], As(list[shapes.FreeDevice])]

    @classmethod
    def read(cls, body: Fields) -> Self:
        cache_type = body.text("cache_type").lower()
        if cache_type not in _CACHE_TYPES:
            raise InvalidRequest(f"unknown cache_type: {cache_type!r:.40}", field="cache_type")
        parallel = body.integer("parallel")
        if not 0 <= parallel <= _MAX_PARALLEL:
            raise InvalidRequest(
                f"parallel must be between 0 and {_MAX_PARALLEL}", field="parallel"
            )
        return cls(
            **model_fields(body),
            parallel=parallel,
            cache_type=cache_type,
            memory=None if body.any("memory") is None else _bytes(body.any("memory"), "memory"),
            devices={
                device.text("name"): _bytes(device.any("free"), "free")
                for device in body.objects("devices")
            },
        )


def _bytes(value: Any, key: str) -> int:
    """A number of bytes, or a size such as ``8GB``. Raises InvalidRequest."""
    if isinstance(value, str):
        try:
            return parse_size(value)
        except InvalidOption as error:
            raise InvalidRequest(f"{key} {error.message}", field=key) from None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise InvalidRequest(f"{key} must be a number of bytes", field=key)
