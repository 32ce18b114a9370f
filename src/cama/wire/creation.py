"""The request that creates a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

from cama.core.errors import InvalidRequest, Unsupported
from cama.wire import shapes
from cama.wire.decode import Fields
from cama.wire.requests import Message, ModelName
from cama.wire.schema import As, Named

_INFO_TEXTS = {
    "model_family": "model_family",
    "base_name": "base_name",
    "quantization_level": "file_type",
    "parameter_size": "model_type",
}
_INFO_COUNTS = ("context_length", "embedding_length")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """``files``, ``adapters`` and ``draft_files`` are digests of blobs by the files' names;
    ``info`` is keyed as in the config layer. What is empty was not given."""

    struct: ClassVar[str] = "CreateRequest"

    also: ClassVar[Any] = shapes.CreateNames

    model: ModelName
    base: Annotated[str, Named("from")] = ""
    files: Mapping[str, str] = field(default_factory=dict)
    adapters: Mapping[str, str] = field(default_factory=dict)
    draft_files: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    system: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    licenses: Annotated[tuple[str, ...], Named("license"), As(str | list[str])] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: Annotated[tuple[Mapping[str, Any], ...], As(list[Message])] = ()
    quantize: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = True

    @classmethod
    def read(cls, body: Fields) -> Self:
        if body.text("remote_host"):
            raise Unsupported("models that run on another machine are not supported")
        draft_files = _files(body, "draft_files")
        if body.text("draft_quantize"):
            if not draft_files:
                raise InvalidRequest("--draft-quantize requires a DRAFT model")
            raise Unsupported("draft_quantize is not supported: quantize the draft model first")
        return cls(
            model=(body.text("model") or body.text("name")).strip(),
            base=body.text("from").strip(),
            files=_files(body, "files"),
            adapters=_files(body, "adapters"),
            draft_files=draft_files,
            template=body.text("template"),
            system=body.text("system"),
            renderer=body.text("renderer"),
            parser=body.text("parser"),
            requires=body.text("requires"),
            licenses=_licenses(body.any("license")),
            parameters={k: v for k, v in body.object("parameters").items() if v is not None},
            messages=tuple(map(_message, body.list("messages"))),
            quantize=body.text("quantize") or body.text("quantization"),
            info=_info(body.object("info")),
            stream=body.flag("stream", default=True),
        )


def _files(body: Fields, key: str) -> dict[str, str]:
    files = body.object(key)
    for name, digest in files.items():
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            raise InvalidRequest("file path must be relative", field=key)
        if not isinstance(digest, str) or not digest:
            raise InvalidRequest("invalid digest format", field=key)
    return files


def _licenses(value: Any) -> tuple[str, ...]:
    match value:
        case None | "":
            return ()
        case str():
            return (value,)
        case list() if all(isinstance(item, str) for item in value):
            return tuple(text for text in value if text)
    raise InvalidRequest("license must be a string or an array of strings", field="license")


def _message(item: Any) -> dict[str, Any]:
    """A message as it is stored: all that was given of it, by the names that count."""
    if not isinstance(item, dict):
        raise InvalidRequest("messages must be an array of objects", field="messages")
    message = Message.read(Fields(item, "Message"))
    given = {key.lower(): value for key, value in item.items() if value}
    return given | {"role": message.role, "content": message.content}


def _info(info: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in info.items():
        if key in _INFO_TEXTS:
            if not isinstance(value, str):
                raise InvalidRequest(f'info field "{key}" must be a string', field="info")
            found[_INFO_TEXTS[key]] = value
        elif key in _INFO_COUNTS:
            found[key] = _count(key, value)
        elif key == "capabilities":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise InvalidRequest(f'info field "{key}" must be a string', field="info")
            found[key] = value
    return found


def _count(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f'info field "{key}" must be a number', field="info")
    if value < 0 or value != int(value) or value >= 2**63:
        raise InvalidRequest(f'info field "{key}" must be a non-negative integer', field="info")
    return int(value)
