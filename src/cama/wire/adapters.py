"""The field ``adapters`` of requests, Cama's own: whose adapters are wanted, and how much."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from cama.core.errors import InvalidRequest
from cama.wire.schema import Mark, Range

_MOST: Final = 8
"""Adapters of one request: their ranks add up, and so does the time that they take."""

_LARGEST_SCALE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterChoice:
    """The adapters of the model ``name``, ``scale`` times."""

    name: Annotated[str, Mark.NEEDED]
    scale: Annotated[float, Range(-_LARGEST_SCALE, _LARGEST_SCALE)] = 1.0


def read_adapters(value: Any) -> tuple[AdapterChoice, ...] | None:
    """None when the request says nothing, so that the model's own are meant."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise InvalidRequest("adapters must be an array of model names or of name and scale")
    if len(value) > _MOST:
        raise InvalidRequest(f"adapters must be at most {_MOST}")
    return tuple(_choice(item) for item in value)


def _choice(item: Any) -> AdapterChoice:
    match item:
        case str(name):
            scale: Any = 1.0
        case {"name": str(name), "scale": scale, **more} if not more:
            pass
        case {"name": str(name), **more} if not more:
            scale = 1.0
        case _:
            raise InvalidRequest("an adapter must be a model name, or an object of name and scale")
    if not name.strip():
        raise InvalidRequest("an adapter must have the name of a model")
    is_number = isinstance(scale, int | float) and not isinstance(scale, bool)
    if not is_number or not -_LARGEST_SCALE <= scale <= _LARGEST_SCALE:
        raise InvalidRequest(
            f"the scale of an adapter must be a number from -{_LARGEST_SCALE} to {_LARGEST_SCALE}"
        )
    return AdapterChoice(name=name.strip(), scale=float(scale))
