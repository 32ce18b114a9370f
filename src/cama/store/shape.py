"""What a model's header says of the memory that running it takes: sizes, layer by layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cama.core.errors import InvalidModelFile
from cama.gguf import GGUFFile, TensorInfo

_MAX_LAYERS: Final = 4096
_MAX_SIZE: Final = 2**40
"""More elements of one thing than any file can mean; sums of products stay exact."""

_ATTENTION: Final = ("attn_k.weight", "attn_kv_a_mqa.weight", "attn_qkv.weight")
_VOCABULARIES: Final = ("token_embd.weight", "output.weight", "per_layer_token_embd.weight")
_STATES: Final = ("ssm_conv1d.weight", "shortconv.conv.weight", "time_mix_key.weight")
_PERIODS: Final = {
    "cohere2": 4, "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "gptoss": 2, "llama4": 4,
}  # fmt: skip
"""Of so many layers the last sees every token, where the file does not say; else all have one."""

_CHUNKS: Final = {"llama4": 8192}
_ENCODERS: Final = {"gemma-embedding", "gemma3"}
"""Those that read a text both ways where they pool, and whose files do not say so."""

_GEMMA3N_OWN: Final = 20
"""Layers of Gemma 3n that have a cache of their own: its files have no key for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Elements of a token's key and value in the cache, and float32 elements of the running states
    of a sequence.

    ``heads`` are the elements of one head of each, ``window`` is how many tokens a token sees, 0
    for all. ``is_compressed``: one vector for the keys and values of all heads (MLA).
    """

    weights_bytes: int
    key: int = 0
    value: int = 0
    state: int = 0
    heads: tuple[int, int] = (0, 0)
    window: int = 0
    is_compressed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """One for each state of a file, which is itself alone: comparing layers would cost more.

    ``input_bytes`` are the token embeddings, ``output_bytes`` all other weights of no layer;
    ``n_wide`` is the most elements of a token that a layer computes at once, a bound for compute
    buffers.
    """

    layers: tuple[Layer, ...]
    input_bytes: int
    output_bytes: int
    n_ctx_train: int
    n_embd: int
    n_vocab: int
    n_wide: int

    @property
    def weights_bytes(self) -> int:
        return self.input_bytes + self.output_bytes + sum(one.weights_bytes for one in self.layers)

    @property
    def keeps_states(self) -> bool:
        return any(layer.state for layer in self.layers)

    @property
    def n_windows(self) -> int:
        """Different reaches of attention, each of which needs a mask of its own."""
        return len({layer.window for layer in self.layers if layer.key})


def read_shape(file: GGUFFile, tensors: Mapping[str, TensorInfo]) -> Shape:
    """The shape of a model whose ``tensors`` lie in ``file``, or in several of which it is the
    first. Raises InvalidModelFile for sizes that no model has."""
    return _Reader(file, tensors).shape()


class _Reader:
    """Hyperparameters of a file, checked; a key that is missing has a meaning of its own."""

    def __init__(self, file: GGUFFile, tensors: Mapping[str, TensorInfo]) -> None:
        self._file = file
        self._architecture = file.architecture
        self._tensors = tensors
        self._values: dict[str, Any] = {}
        n_block = self._integer("block_count")
        if n_block > _MAX_LAYERS:
            raise self._damaged("block_count", f"is {n_block}, more than {_MAX_LAYERS}")
        # Layers that only guess ahead are loaded by nobody.
        self._n_layer = max(0, n_block - self._integer("nextn_predict_layers"))
        self._n_embd = self._integer("embedding_length")
        self._heads = self._by_layer("attention.head_count")
        self._heads_kv = self._by_layer("attention.head_count_kv") or self._heads

    def shape(self) -> Shape:
        weights = self._weights()
        vocabulary = self._tensors.get("token_embd.weight")
        return Shape(
            layers=tuple(self._layer(i, weights[i]) for i in range(self._n_layer)),
            input_bytes=vocabulary.n_bytes if vocabulary else 0,
            output_bytes=weights[-1] - (vocabulary.n_bytes if vocabulary else 0),
            n_ctx_train=self._integer("context_length"),
            n_embd=self._n_embd,
            n_vocab=vocabulary.shape[1] if vocabulary and len(vocabulary.shape) > 1 else 0,
            n_wide=max(self._widths(), default=0),
        )

    def _weights(self) -> dict[int, int]:
        """Bytes of each layer; under -1 those of none."""
        found = dict.fromkeys(range(-1, self._n_layer), 0)
        for name, tensor in self._tensors.items():
            head, _, rest = name.partition(".")
            index = rest.partition(".")[0]
            of_layer = head == "blk" and index.isdecimal() and int(index) < self._n_layer
            found[int(index) if of_layer else -1] += tensor.n_bytes
        return found

    def _layer(self, i: int, weights_bytes: int) -> Layer:
        state = self._state(i)
        if not self._attends(i, has_state=state > 0):
            return Layer(weights_bytes=weights_bytes, state=state)
        window = self._window(i)
        if self._integer("attention.key_length_mla"):
            key = self._integer("attention.kv_lora_rank") + self._integer("rope.dimension_count")
            return Layer(
                weights_bytes=weights_bytes,
                key=key,
                state=state,
                heads=(key, 0),
                is_compressed=True,
            )
        n = _at(self._heads_kv, i)
        if "attention.kv_lora_rank" in self:  # each head has a key of its own
            n = _at(self._heads, i)
        swa = "_swa" if window and "attention.key_length_swa" in self else ""
        per_head = self._n_embd // max(1, _at(self._heads, 0))
        key = self._integer(f"attention.key_length{swa}", per_head)
        value = self._integer(f"attention.value_length{swa}", per_head)
        return Layer(
            weights_bytes=weights_bytes,
            key=n * key,
            value=n * value,
            state=state,
            heads=(key, value),
            window=window,
        )

    def _attends(self, i: int, *, has_state: bool) -> bool:
        """Whether a layer has a cache of its own."""
        if not self._is_causal or i >= self._n_layer - self._integer("attention.shared_kv_layers"):
            return False
        if self._architecture == "gemma3n" and i >= _GEMMA3N_OWN:
            return False
        names = _ATTENTION[:-1] if has_state else _ATTENTION
        return any(f"blk.{i}.{name}" in self._tensors for name in names)

    @property
    def _is_causal(self) -> bool:
        pools = "pooling_type" in self and self._architecture in _ENCODERS
        return not pools and self._get("attention.causal") is not False

    def _state(self, i: int) -> int:
        """As both engines keep them: the last inputs of a convolution, and the state itself."""
        conv = self._tensors.get(f"blk.{i}.{_STATES[0]}")
        if conv is not None:
            n_before, n_channel = (
                max(0, conv.shape[0] - 1),
                conv.n_elements // max(1, conv.shape[0]),
            )
            return n_before * n_channel + self._integer("ssm.state_size") * self._integer(
                "ssm.inner_size"
            )
        if f"blk.{i}.{_STATES[1]}" in self._tensors:
            return max(0, self._integer("shortconv.l_cache") - 1) * self._n_embd
        if f"blk.{i}.{_STATES[2]}" in self._tensors:  # RWKV: two shifted tokens, a matrix per head
            return self._n_embd * (self._integer("wkv.head_size") + 2)
        return 0

    def _window(self, i: int) -> int:
        size = self._integer("attention.sliding_window", _CHUNKS.get(self._architecture, 0))
        pattern = self._get("attention.sliding_window_pattern")
        if isinstance(pattern, list):
            return size if i < len(pattern) and pattern[i] else 0
        period = pattern if isinstance(pattern, int) else _PERIODS.get(self._architecture, 0)
        return 0 if period > 0 and i % period == period - 1 else size

    def _widths(self) -> Iterator[int]:
        """Elements of a token in the widest step of each kind."""
        n_used = self._integer("expert_used_count")
        for name, tensor in self._tensors.items():
            if name in _VOCABULARIES or not name.endswith(".weight") or len(tensor.shape) < 2:
                continue
            yield tensor.shape[1] * (n_used if "_exps" in name else 1)

    def __contains__(self, key: str) -> bool:
        return self._key(key) in self._file.metadata

    def _key(self, key: str) -> str:
        return f"{self._architecture}.{key}"

    def _get(self, key: str) -> Any:
        if key not in self._values:
            self._values[key] = self._file.get(self._key(key))
        return self._values[key]

    def _integer(self, key: str, default: int = 0) -> int:
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, list):  # an encoder and decoder, or one for each layer: the largest
            value = max((item for item in value if isinstance(item, int)), default=default)
        if not isinstance(value, int) or not 0 <= value < _MAX_SIZE:
            raise self._damaged(key, f"is {value!r:.40}")
        return value

    def _by_layer(self, key: str) -> list[int]:
        """One value for each layer, or one for all."""
        value = self._get(key)
        values = value if isinstance(value, list) else [] if value is None else [value]
        for item in values:
            if not isinstance(item, int) or not 0 <= item < _MAX_SIZE:
                raise self._damaged(key, f"is {item!r:.40}")
        return values

    def _damaged(self, key: str, complaint: str) -> InvalidModelFile:
        path, name = self._file.path, self._key(key)
        return InvalidModelFile(f"{path}: {name} {complaint}", path=str(path), field=name)


def _at(values: Sequence[int], i: int) -> int:
    """The value of layer ``i``; a short list goes on as it ends."""
    return values[min(i, len(values) - 1)] if values else 0
