"""The models that are part of Cama: GGUF files inside the package, at hand without any store."""

from collections.abc import Iterator
from pathlib import Path

from cama.core.errors import InvalidModelName
from cama.store.models import StoredModel
from cama.store.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName
from cama.store.plain import open_file

FOLDER = Path(__file__).parent.parent / "bundled"


def find_bundled(text: str, folder: Path | None) -> StoredModel | None:
    """The bundled model of that name, if there is one. Names are equal in any case."""
    try:
        name = ModelName.parse(text)
    except InvalidModelName:
        return None
    is_plain = (name.host, name.namespace) == (DEFAULT_HOST, DEFAULT_NAMESPACE)
    if folder is None or not is_plain or name.tag.lower() != DEFAULT_TAG:
        return None
    path = folder / f"{name.model.lower()}.gguf"
    return _open(path) if path.is_file() else None


def bundled(folder: Path | None) -> Iterator[StoredModel]:
    """All of them, by name."""
    for path in sorted(folder.glob("*.gguf")) if folder else ():
        yield _open(path)


def _open(path: Path) -> StoredModel:
    return open_file(f"{path.stem}:{DEFAULT_TAG}", path)
