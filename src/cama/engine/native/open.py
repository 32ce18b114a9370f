"""A model as the native engine of its kind."""

from collections.abc import Callable
from pathlib import Path

from cama.core.errors import UnsupportedModel
from cama.core.load import LoadOptions
from cama.engine.native import models
from cama.engine.native.encoder import NativeEncoder
from cama.engine.native.engine import NativeEngine
from cama.engine.native.load import open_file
from cama.engine.native.model_file import ModelFile
from cama.engine.native.nn import Encoder


def open_native(
    path: Path, load: LoadOptions, reason: str, progress: Callable[[float], None]
) -> NativeEngine | NativeEncoder:
    """Raises UnsupportedModel where libllama has to run the model, InvalidModelFile."""
    if load.adapts_experts:
        raise UnsupportedModel("an adapter changes experts, which the native engine does not")

    def make(file: ModelFile) -> NativeEngine | NativeEncoder:
        is_encoder = issubclass(models.find(file.architecture), Encoder)
        return (NativeEncoder if is_encoder else NativeEngine)(file, load, reason)

    return open_file(path, make, progress)
