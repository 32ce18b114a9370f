"""The native engine of models that only embed: they read a text both ways, at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cama.core.errors import EngineError, UnsupportedModel
from cama.core.load import LoadOptions
from cama.engine.base import EngineInfo, Pooling, Vectors
from cama.engine.embed_only import EmbedOnly
from cama.engine.native.kvcache.layout import Window
from cama.engine.native.kvcache.mask import fill_texts
from cama.engine.native.kvcache.storage import NoCache
from cama.engine.native.load import (
    MappedWeights,
    bind,
    check_whole,
    open_file,
    open_tokenizer,
    read_config,
)
from cama.engine.native.model_file import ModelFile
from cama.engine.native.nn import Encoder, OfPositions, Step
from cama.engine.pooling import MAX_TEXTS, Text, batches, check_texts
from cama.engine.threads import default_threads
from cama.ggml import _abi, ops
from cama.ggml.abort import AbortFlag
from cama.ggml.backend import Backend, Scheduler
from cama.ggml.graph import Graph
from cama.ggml.tensor import Tensor

_LONG = 2048
"""From here on a table of attention scores per head is too large to keep: fused attention."""


class _Shape(NamedTuple):
    n_tokens: int
    n_texts: int


class _Pass:
    """The graph of one shape, with its inputs."""

    def __init__(self, model: Encoder, shape: _Shape, *, is_long: bool) -> None:
        self.shape = shape
        self.graph = Graph(_max_nodes(model))
        make, n = self.graph.input, shape.n_tokens
        self._tokens = make(_abi.GGML_TYPE_I32, n, name="tokens")
        self._positions = make(_abi.GGML_TYPE_I32, n, name="positions")
        self._is_mean = model.config.pooling == "mean"
        kind = _abi.GGML_TYPE_F16 if is_long else _abi.GGML_TYPE_F32
        self._masks: dict[Window | None, Tensor] = {
            window: make(kind, n, n, name="mask") for window in dict.fromkeys(model.windows)
        }
        caches = [NoCache(self._masks[window]) for window in model.windows]
        step = Step(self._tokens, self._positions, self._positions, caches, self._derive)
        self._result = self.graph.output(model.project(self._pool(model(step))))

    def _derive(self, of_positions: OfPositions) -> Tensor:
        raise UnsupportedModel("an encoder's positions are plain ones")

    def _pool(self, hidden: Tensor) -> Tensor:
        """[n_embd, n_tokens] -> [n_embd, n_texts]."""
        n_tokens, n_texts = self.shape
        if self._is_mean:
            self._parts = self.graph.input(_abi.GGML_TYPE_F32, n_tokens, n_texts, name="parts")
            return ops.mul_mat(ops.contiguous(ops.transpose(hidden)), self._parts)
        self._parts = self.graph.input(_abi.GGML_TYPE_I32, n_texts, name="rows")
        return ops.get_rows(hidden, self._parts)

    def write(self, texts: Sequence[Text], pooling: Pooling) -> None:
        """Fill the inputs, once the scheduler has given them memory."""
        lengths = np.array([len(text) for text in texts])
        ends = np.cumsum(lengths)
        self._tokens.numpy().reshape(-1)[:] = np.concatenate([np.asarray(text) for text in texts])
        self._positions.numpy().reshape(-1)[:] = np.concatenate([np.arange(n) for n in lengths])
        for window, mask in self._masks.items():
            fill_texts(mask.numpy()[0, 0], lengths.tolist(), window)
        parts = self._parts.numpy()
        if self._is_mean:
            parts.fill(0)
            for row, (length, end) in enumerate(zip(lengths, ends, strict=True)):
                parts[0, 0, row, end - length : end] = np.float32(1) / np.float32(length)
        else:
            parts.reshape(-1)[:] = ends - lengths if pooling == "cls" else ends - 1

    def read(self) -> Vectors:
        rows = self._result.numpy().reshape(self.shape.n_texts, -1)
        return rows.view(np.float32)

    @property
    def width(self) -> int:
        """Elements of a text's vector."""
        return self._result.shape[0]


class NativeEncoder(EmbedOnly):
    """Implements cama.engine.base.Embeds and Interruptible; as an Engine it refuses to generate."""

    def __init__(self, file: ModelFile, load: LoadOptions, reason: str) -> None:
        check_whole(file)
        self._file = file
        self._weights = MappedWeights(file)
        model = bind(file, self._weights, read_config(file, load))
        assert isinstance(model, Encoder)
        self._model = model
        c = model.config
        self.pooling: Pooling = c.pooling
        n_ctx = min(c.n_ctx, model.n_positions)
        self._is_long = n_ctx > _LONG
        n_threads = load.n_threads or default_threads()
        self._abort = AbortFlag()
        self._backend = Backend(n_threads, self._abort)
        self._scheduler = Scheduler([self._backend], _max_nodes(model))
        self._pass: _Pass | None = None
        self.info = EngineInfo(
            engine="native",
            reason=reason,
            architecture=c.architecture,
            n_ctx_train=c.n_ctx_train,
            n_ctx=n_ctx,
            n_cells=0,
            n_batch=min(load.n_batch, n_ctx),
            n_seq_max=1,
            n_vocab=c.n_vocab,
            n_embd=self._reserve(_Shape(n_ctx, min(n_ctx, MAX_TEXTS))),
            n_threads=n_threads,
            generates=False,
        )
        self.tokenizer = open_tokenizer(file)
        self._closed = False

    @classmethod
    def open(
        cls, path: Path, load: LoadOptions, reason: str, progress: Callable[[float], None]
    ) -> "NativeEncoder":
        """Map a model. Raises UnsupportedModel where libllama has to run it, InvalidModelFile."""
        return open_file(path, lambda file: cls(file, load, reason), progress)

    def embed(self, texts: Sequence[Text]) -> Vectors:
        if self._closed:
            raise EngineError("the engine is closed")
        check_texts(texts, self.info)
        self._abort.clear()
        vectors = np.empty((len(texts), self.info.n_embd), np.float32)
        done = 0
        for batch in batches(texts, self.info.n_ctx, MAX_TEXTS):
            step = self._ready(_Shape(sum(map(len, batch)), len(batch)))
            step.write(batch, self.pooling)
            self._scheduler.compute(step.graph)
            vectors[done : done + len(batch)] = step.read()
            done += len(batch)
        return vectors

    def interrupt(self) -> None:
        self._abort.set()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._forget()
        self._scheduler.close()
        self._backend.close()
        self._weights.close()
        self.tokenizer.close()
        self._file.close()

    def _reserve(self, largest: _Shape) -> int:
        """Memory for the largest pass; returns the width of a vector."""
        step = _Pass(self._model, largest, is_long=self._is_long)
        self._scheduler.check(step.graph.nodes)
        self._scheduler.reserve(step.graph)
        step.graph.close()
        return step.width

    def _ready(self, shape: _Shape) -> _Pass:
        if self._pass is None or self._pass.shape != shape:
            self._forget()
            self._pass = _Pass(self._model, shape, is_long=self._is_long)
            self._scheduler.allocate(self._pass.graph)
        return self._pass

    def _forget(self) -> None:
        if self._pass is not None:
            self._pass.graph.close()
            self._pass = None


def _max_nodes(model: Encoder) -> int:
    return 1024 + 160 * len(model.blk)
