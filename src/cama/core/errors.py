"""Every deliberate error of Cama: a type, a stable code, and one line that a user can act on.

    CamaError
    ├── InvalidInput            the caller can fix it
    │   ├── InvalidConstraint   a schema or grammar that no answer can be held to
    │   ├── InvalidModelName
    │   ├── InvalidModelfile
    │   ├── InvalidOption
    │   │   └── InvalidOptionType   a model option of the wrong JSON type
    │   ├── InvalidRequest
    │   ├── InvalidSetting
    │   ├── InvalidTemplate     a template of a Modelfile or a request that cannot be read
    │   ├── PromptTooLong
    │   └── Unsupported         valid, but not something this model or version does
    ├── Unauthorized            the server wants an API key, and got none or a wrong one
    ├── ModelNotFound
    ├── InvalidModelFile        a file is damaged, hostile, or not GGUF at all
    ├── UnsupportedModel        a sound file that no engine here can run
    ├── PluginConflict          two installed packages define the same architecture
    ├── NotEnoughMemory         a model that is larger than what this machine has free
    ├── StoreError              the model store cannot be read or written
    ├── QueueFull
    ├── ServerUnavailable       the client cannot reach a server
    ├── RegistryError           a registry refused something, or answered nonsense
    │   ├── RegistryDenied      it wants another login, or none is enough
    │   ├── RegistryUnreachable no answer came, or it broke off
    │   └── Offline             no request may leave this machine
    ├── Cancelled               who asked for the work no longer wants it
    └── RunnerError             the process that runs the model failed
        ├── LoadFailed
        ├── RunnerCrashed
        ├── LibraryMismatch     libggml or libllama is missing or not the version we bind
        └── EngineError
            ├── CacheFull
            └── Interrupted

An error crosses a process boundary as data: ``to_dict`` on one side, ``from_dict`` on the other.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self


class CamaError(Exception):
    """The root. ``fields`` name what was wrong and travel with the message."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        return from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-able data, read back by :func:`from_dict`."""
        return {"code": self.code, "message": self.message, "fields": self.fields}

    @classmethod
    def kinds(cls) -> Iterator[type[Self]]:
        """This type and every type below it."""
        yield cls
        for sub in cls.__subclasses__():
            yield from sub.kinds()


class InvalidInput(CamaError):
    code = "invalid_input"


class InvalidConstraint(InvalidInput):
    code = "invalid_constraint"


class InvalidModelName(InvalidInput):
    code = "invalid_model_name"


class InvalidModelfile(InvalidInput):
    code = "invalid_modelfile"


class InvalidOption(InvalidInput):
    code = "invalid_option"


class InvalidOptionType(InvalidOption):
    """``fields`` hold ``option``, the key."""

    code = "invalid_option_type"


class InvalidRequest(InvalidInput):
    code = "invalid_request"


class InvalidSetting(InvalidInput):
    code = "invalid_setting"


class InvalidTemplate(InvalidInput):
    """``fields`` hold ``line``."""

    code = "invalid_template"


class PromptTooLong(InvalidInput):
    code = "prompt_too_long"


class Unsupported(InvalidInput):
    code = "unsupported"


class Unauthorized(CamaError):
    code = "unauthorized"


class ModelNotFound(CamaError):
    code = "model_not_found"


class InvalidModelFile(CamaError):
    """``fields`` hold ``path`` and ``field`` (what in the file is wrong)."""

    code = "invalid_model_file"


class UnsupportedModel(CamaError):
    code = "unsupported_model"


class PluginConflict(CamaError):
    """``fields`` hold ``architecture``."""

    code = "plugin_conflict"


class NotEnoughMemory(CamaError):
    """``fields`` hold ``needed`` and ``available``, in bytes."""

    code = "not_enough_memory"


class StoreError(CamaError):
    code = "store_error"


class QueueFull(CamaError):
    code = "queue_full"


class ServerUnavailable(CamaError):
    code = "server_unavailable"


class RegistryError(CamaError):
    """``fields`` hold ``status`` where there is one."""

    code = "registry_error"


class RegistryDenied(RegistryError):
    code = "registry_denied"


class RegistryUnreachable(RegistryError):
    code = "registry_unreachable"


class Offline(RegistryError):
    code = "offline"


class Cancelled(CamaError):
    code = "cancelled"


class RunnerError(CamaError):
    code = "runner_error"


class LoadFailed(RunnerError):
    code = "load_failed"


class RunnerCrashed(RunnerError):
    code = "runner_crashed"


class LibraryMismatch(RunnerError):
    code = "library_mismatch"


class EngineError(RunnerError):
    code = "engine_error"


class CacheFull(EngineError):
    """No free KV cells for what was asked."""

    code = "cache_full"


class Interrupted(EngineError):
    """A forward pass was aborted on request; none of its plan is in the cache."""

    code = "interrupted"


def from_dict(data: Mapping[str, Any]) -> CamaError:
    """Rebuild an error from :meth:`CamaError.to_dict`; an unknown code gives a plain CamaError."""
    kind = next((k for k in CamaError.kinds() if k.code == data.get("code")), CamaError)
    fields = data.get("fields")
    return kind(
        str(data.get("message", "unknown error")), **(fields if isinstance(fields, dict) else {})
    )
