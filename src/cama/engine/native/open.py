"""A model as the native engine of its kind."""

from collections.abc import Callable
from pathlib import Path

from cama.core.load import LoadOptions
from cama.engine.native import models
from cama.engine.native.encoder import NativeEncoder
from cama.engine.native.engine import NativeEngine
from cama.engine.native.nn import Encoder
from cama.gguf import GGUFFile


def open_native(
    path: Path, load: LoadOptions, reason: str, progress: Callable[[float], None]
) -> NativeEngine | NativeEncoder:
    """Raises UnsupportedModel where libllama has to run the model, InvalidModelFile."""
    with GGUFFile.open(path) as file:
        is_encoder = issubclass(models.find(file.architecture), Encoder)
    kind = NativeEncoder if is_encoder else NativeEngine
    return kind.open(path, load, reason, progress)
