"""Model names: ``[host/][namespace/]model[:tag]`` and the forms they are shown and stored in."""

import re
from dataclasses import dataclass
from pathlib import Path

from cama.core.errors import InvalidModelName

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_GRAMMAR = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}
_SHOWN_LENGTH = 100


@dataclass(frozen=True, slots=True)
class ModelName:
    """A name whose four parts are valid, so that ``path`` cannot leave the folder it is put in."""

    host: str
    namespace: str
    model: str
    tag: str

    def __post_init__(self) -> None:
        for part, grammar in _GRAMMAR.items():
            if not grammar.fullmatch(getattr(self, part)):
                raise _invalid(self.full, part)

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Read a name and fill in the defaults. Raises InvalidModelName.

        A scheme in front is accepted and dropped; it needs a host behind it.
        """
        scheme, has_scheme, rest = text.partition("://")
        body = rest if has_scheme else text
        head, has_folder, last = body.rpartition("/")
        folders = head.split("/") if has_folder else []
        if len(folders) > 2 or (has_scheme and (len(folders) < 2 or scheme not in _SCHEMES)):
            raise _invalid(text)
        before, has_tag, after = last.rpartition(":")
        model, tag = (before, after) if has_tag else (last, DEFAULT_TAG)
        defaults = [DEFAULT_HOST, DEFAULT_NAMESPACE]
        host, namespace = defaults[: 2 - len(folders)] + folders
        try:
            return cls(host, namespace, model, tag)
        except InvalidModelName as error:
            raise _invalid(text, error.fields["part"]) from None

    @property
    def parts(self) -> tuple[str, str, str, str]:
        return self.host, self.namespace, self.model, self.tag

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def short(self) -> str:
        """What users see: default parts are left out, the tag never is."""
        if self.host != DEFAULT_HOST:
            return self.full
        if self.namespace != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"

    @property
    def path(self) -> Path:
        """Where the manifest lies, relative to the folder of manifests."""
        return Path(*self.parts)


_SCHEMES = ("http", "https")


def _invalid(text: str, part: str = "name") -> InvalidModelName:
    shown = (
        text if text.isprintable() and len(text) <= _SHOWN_LENGTH else repr(text[:_SHOWN_LENGTH])
    )
    return InvalidModelName(f"invalid model name: {shown}", name=text[:_SHOWN_LENGTH], part=part)
