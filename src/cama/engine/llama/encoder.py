"""The engine of models that only embed: encoders, and decoders that were trained to."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cama.core.errors import EngineError
from cama.core.load import LoadOptions
from cama.engine.base import EngineInfo, Pooling, Vectors
from cama.engine.embed_only import EmbedOnly
from cama.engine.llama.embedder import Embedder
from cama.engine.llama.model import architecture, device_names, open_model
from cama.engine.pooling import check_texts
from cama.engine.threads import default_threads
from cama.engine.tokenizer import LlamaTokenizer
from cama.ggml.abort import AbortFlag
from cama.ggml.llama import llama
from cama.gguf import GGUFFile


def only_embeds(path: Path) -> bool:
    """Whether the file is made for embedding: it says how to pool. Raises InvalidModelFile."""
    with GGUFFile.open(path) as file:
        return f"{file.architecture}.pooling_type" in file.metadata


class LlamaEncoder(EmbedOnly):
    """Implements cama.engine.base.Embeds and Interruptible; as an Engine it refuses to generate."""

    def __init__(self, model: int, load: LoadOptions, reason: str) -> None:
        """Take over ``model``, which ``close`` frees."""
        self._model = model
        self._embedder: Embedder | None = None
        self._abort = AbortFlag()
        try:
            self.tokenizer = LlamaTokenizer.of_model(model)
            self.info = self._describe(load, reason)
            self._embedder = Embedder(
                model, load, self.info.n_ctx, self.info.n_threads, self._abort
            )
        except BaseException:
            self._free()
            raise
        self.pooling: Pooling = self._embedder.pooling

    def _describe(self, load: LoadOptions, reason: str) -> EngineInfo:
        library, model = llama(), self._model
        n_ctx_train = library.llama_model_n_ctx_train(model)
        n_ctx = load.context_for(n_ctx_train)
        return EngineInfo(
            engine="llama",
            reason=reason,
            architecture=architecture(model),
            n_ctx_train=n_ctx_train,
            n_ctx=n_ctx,
            n_cells=0,
            n_batch=min(load.n_batch, n_ctx),
            n_seq_max=1,
            n_vocab=self.tokenizer.n_tokens,
            n_embd=library.llama_model_n_embd_out(model),
            n_threads=load.n_threads or default_threads(),
            devices=device_names(load),
            generates=False,
        )

    @classmethod
    def open(
        cls, path: Path, load: LoadOptions, reason: str, progress: Callable[[float], None]
    ) -> "LlamaEncoder":
        """Load a model. ``progress`` gets fractions on this thread and must not raise.

        Raises ModelNotFound, InvalidModelFile, UnsupportedModel or LoadFailed.
        """
        return cls(open_model(path, load, progress), load, reason)

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        if self._embedder is None:
            raise EngineError("the engine is closed")
        check_texts(texts, self.info)
        self._abort.clear()
        return self._embedder.embed(texts)

    def interrupt(self) -> None:
        self._abort.set()

    def close(self) -> None:
        self.tokenizer.close()  # it reads the vocabulary of the model
        self._free()

    def _free(self) -> None:
        embedder, self._embedder = self._embedder, None
        model, self._model = self._model, 0
        if embedder is not None:
            embedder.close()
        if model:
            llama().llama_model_free(model)
