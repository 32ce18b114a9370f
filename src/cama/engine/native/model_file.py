"""A model's file as llama.cpp's converter would have written it, whatever its dialect."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from cama.engine.native.dialect import BESIDE_TEXT, Form, form_of
from cama.gguf import Array, GGUFFile, Scalar, TensorInfo, Writable
from cama.gguf.cursor import Data
from cama.gguf.encode import typed

_BY_TOKEN = ("tokens", "scores", "token_type")
_WORDLESS = (None, "", "default")


class ModelFile(GGUFFile):
    """Names, values and tensors are translated when it is opened; no weight is copied."""

    def __init__(self, data: Data, path: Path) -> None:
        super().__init__(data, path)
        form = form_of(self)
        tensors = _named(form, self.tensors)
        n_tokens = _shortest(self, form, tensors)
        self.tensors = {
            name: _cut(tensor, n_tokens) if name in form.by_token else tensor
            for name, tensor in tensors.items()
        }
        values = _values(self, form)
        lengths = {f"tokenizer.ggml.{name}": n_tokens for name in _BY_TOKEN if n_tokens}
        self.is_translated = self._changes_vocabulary(form, values, n_tokens)
        names = _keys(self, form)
        self._metadata = self._metadata.edited(names, values, lengths)

    def _changes_vocabulary(
        self, form: Form, values: Mapping[str, Scalar | Array], n_tokens: int
    ) -> bool:
        """Whether libllama would not read the vocabulary from the file as it is meant."""
        is_cut = n_tokens and n_tokens < self.array_length("tokenizer.ggml.tokens")
        is_other = form.name != form.written
        return bool(is_cut) or is_other or any(key.startswith("tokenizer.") for key in values)

    def vocabulary(self, architecture: str) -> Mapping[str, Writable]:
        """The part of the header that makes a vocabulary, as that of another ``architecture``."""
        prefixes = ("general.", "tokenizer.")
        head = {key: self.typed(key) for key in self.metadata if key.startswith(prefixes)}
        return head | {"general.architecture": architecture}


def _keys(file: GGUFFile, form: Form) -> dict[str, str]:
    """The usual names of the file's keys. One that has both names keeps the usual one."""
    names = {}
    for key in file.metadata:
        head, _, rest = key.partition(".")
        if head != form.written:
            continue
        new = form.keys.get(rest, rest)
        is_taken = new != rest and new not in form.keys and f"{head}.{new}" in file.metadata
        names[key] = f"{form.name}.{new}" if new and not is_taken else ""
    return names


def _values(file: GGUFFile, form: Form) -> dict[str, Scalar | Array]:
    values: dict[str, Writable] = {}
    if form.name != form.written:
        values["general.architecture"] = form.name
    renamed = {*_keys(file, form).values()}
    for key, value in form.defaults.items():
        if f"{form.name}.{key}" not in renamed:
            values[f"{form.name}.{key}"] = value
    values |= {f"{form.name}.{key}": value for key, value in form.values.items()}
    has_words = file.get("tokenizer.ggml.model") == "gpt2"
    if form.pre and has_words and file.get("tokenizer.ggml.pre") in _WORDLESS:
        values["tokenizer.ggml.pre"] = form.pre
    values |= form.derive(file)
    return {key: typed(value) for key, value in values.items()}


def _named(form: Form, tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Tensors of the text's model by their usual names."""
    named = {}
    for name, tensor in tensors.items():
        if name.startswith(BESIDE_TEXT):
            continue
        block, local = _split(name)
        new = block + form.tensors.get(local, local)
        new = name if new in tensors else new
        named[new] = dataclasses.replace(tensor, name=new)
    return named


def _split(name: str) -> tuple[str, str]:
    """``blk.3.`` and ``attn_q.weight``; the first is empty for tensors of no layer."""
    head, _, rest = name.partition(".")
    index, _, local = rest.partition(".")
    return (f"{head}.{index}.", local) if head == "blk" and index.isdecimal() else ("", name)


def _shortest(file: GGUFFile, form: Form, tensors: Mapping[str, TensorInfo]) -> int:
    """The number of tokens that everything has; 0 where there is nothing to cut."""
    key = "tokenizer.ggml.tokens"
    if not form.by_token or key not in file.metadata:
        return 0
    matrices = (tensors[name] for name in form.by_token if name in tensors)
    return min([file.array_length(key), *(t.shape[1] for t in matrices if len(t.shape) > 1)])


def _cut(tensor: TensorInfo, n_rows: int) -> TensorInfo:
    if not n_rows or len(tensor.shape) < 2 or tensor.shape[1] <= n_rows:
        return tensor
    shape = (tensor.shape[0], n_rows, *tensor.shape[2:])
    return dataclasses.replace(tensor, shape=shape, n_bytes=tensor.type.n_bytes(shape))
