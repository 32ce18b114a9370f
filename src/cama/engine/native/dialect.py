"""The dialect of Ollama's library: what its files say in other words than llama.cpp's, as a table.

Many models there were written by another converter than llama.cpp's: with other names for
architectures, keys and tensors, without keys whose values go without saying, and with the tensors
that see and hear in the same file. Such a file is read as if it had been written the usual way.
A file in the usual form goes through unchanged.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from cama.core.errors import InvalidModelFile
from cama.gguf import Array, GGUFFile, ValueType, Writable

BESIDE_TEXT = ("v.", "mm.", "a.", "s.", "mtp.")
"""Beginnings of names of tensors that see, hear, or guess ahead: text is computed without them."""

_TOKENS = "tokenizer.ggml.tokens"
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_NORMAL, _BYTE = 1, 6
"""Types of tokens, as a GGUF numbers them."""

_T = TypeVar("_T", str, int)

Values = Mapping[str, Writable]


def _items(file: GGUFFile, key: str, kind: type[_T]) -> list[_T]:
    """The elements of a list; none where the file has something else there."""
    found = file.get(key)
    is_list = isinstance(found, list) and all(type(item) is kind for item in found)
    return list(cast(list[_T], found)) if is_list else []


def _nothing(file: GGUFFile) -> Values:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How files of one architecture are written. Keys are those below the architecture's prefix.

    ``name`` is what llama.cpp calls the architecture; with ``having`` only files are meant that
    have this tensor. ``keys`` and ``tensors`` give the usual names (empty: left out), tensors of a
    layer without ``blk.N.``. ``values`` replace what the file says, ``defaults`` what it does not
    say. ``pre`` cuts texts into words where a file names no such rule. Vocabulary and matrices
    ``by_token`` may differ in length, and are cut to the shortest. ``derive`` gives whole keys
    whose values follow from others.
    """

    written: str
    name: str
    having: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    defaults: Values = field(default_factory=dict)
    pre: str = ""
    by_token: Sequence[str] = ()
    derive: Callable[[GGUFFile], Values] = _nothing

    def matches(self, file: GGUFFile) -> bool:
        return not self.having or self.having in file.tensors


def _gemma3(file: GGUFFile) -> Values:
    """Long contexts are reached by scaling, which files of this dialect do not mention."""
    own = ("rope.global.freq_base", "rope.local.freq_base", "mm.tokens_per_image")
    is_own = any(f"gemma3.{key}" in file.metadata for key in own)
    is_own = is_own or "gemma3.attention.layer_norm_rms_epsilon" not in file.metadata
    has_base = any(f"gemma3.rope.{kind}freq_base" in file.metadata for kind in ("", "global."))
    values: dict[str, Writable] = {}
    if is_own and not has_base:
        values["gemma3.rope.freq_base"] = 1e6
    n_ctx = file.get("gemma3.context_length", 0)
    is_scaled = any(key.startswith("gemma3.rope.scal") for key in file.metadata)
    if is_own and isinstance(n_ctx, int) and n_ctx >= 131072 and not is_scaled:
        values |= {"gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": 8.0}
    return values


def _gemma3n(file: GGUFFile) -> Values:
    """The vocabulary is SentencePiece's, whose bytes are pieces of a type of their own."""
    tokens = _items(file, _TOKENS, str)
    if not tokens or file.get("tokenizer.ggml.model") == "llama":
        return {}
    kinds = _items(file, "tokenizer.ggml.token_type", int) or [_NORMAL] * len(tokens)
    pairs = zip(tokens, kinds, strict=False)
    kinds = [_BYTE if _BYTE_PIECE.fullmatch(token) else kind for token, kind in pairs]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.token_type": Array(ValueType.INT32, kinds),
        "tokenizer.ggml.eot_token_id": 106,
    }


def _gemma4(file: GGUFFile) -> Values:
    """A vocabulary with merges is none of SentencePiece's."""
    has_merges = "tokenizer.ggml.merges" in file.metadata
    is_wrong = has_merges and file.get("tokenizer.ggml.model") == "llama"
    return {"tokenizer.ggml.model": "gemma4"} if is_wrong else {}


def _several_ends(file: GGUFFile) -> Values:
    """An answer, a turn and a message end with tokens of their own."""
    ends = _items(file, "tokenizer.ggml.eos_token_ids", int)
    names = ("eos_token_id", "eot_token_id", "eom_token_id")
    return {f"tokenizer.ggml.{name}": end for name, end in zip(names, ends, strict=False)}


def _llama3(file: GGUFFile) -> Values:
    """Llama 3 is known by its vocabulary, the others of this name are not split into words so."""
    has_tokens = _TOKENS in file.metadata and file.array_length(_TOKENS) == 128256
    is_silent = has_tokens and "tokenizer.ggml.pre" not in file.metadata
    return {"tokenizer.ggml.pre": "llama-bpe"} if is_silent else {}


def _charsmap(file: GGUFFile) -> Values:
    """Bytes of a normaliser's table, written as text, a character in each string."""
    key = "tokenizer.ggml.precompiled_charsmap"
    letters = _items(file, key, str)
    if not letters:
        return {}
    try:
        table = base64.b64decode("".join(letters), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidModelFile(
            f"{file.path}: {key} is not base64", path=str(file.path), field=f"metadata[{key}]"
        ) from None
    return {key: Array(ValueType.UINT8, list(table))}


_DELTA = {"ssm_dt": "ssm_dt.bias"}
_SECTIONS = {"rope.mrope_section": "rope.dimension_sections"}
_QWEN3VL = {"rope.dimension_sections": [24, 20, 20, 0]}
_LATENT = {
    "ffn_latent_in.weight": "ffn_latent_down.weight",
    "ffn_latent_out.weight": "ffn_latent_up.weight",
}

FORMS = (
    Form(written="bert", name="bert", derive=_charsmap),
    Form(
        written="gemma3",
        name="gemma-embedding",
        having="dense.0.weight",
        keys={
            "rope.global.freq_base": "rope.freq_base",
            "rope.local.freq_base": "rope.freq_base_swa",
            "attention.causal": "",
            "attention.sliding_window_pattern": "",
        },
        tensors={
            "norm.weight": "output_norm.weight",
            "dense.0.weight": "dense_2.weight",
            "dense.1.weight": "dense_3.weight",
        },
        defaults={"attention.layer_norm_rms_epsilon": 1e-6},
        by_token=("token_embd.weight",),
    ),
    Form(
        written="gemma3",
        name="gemma3",
        keys={
            "rope.global.freq_base": "rope.freq_base",
            "rope.local.freq_base": "rope.freq_base_swa",
        },
        defaults={"attention.layer_norm_rms_epsilon": 1e-6},
        by_token=("token_embd.weight",),
        derive=_gemma3,
    ),
    Form(
        written="gemma3n",
        name="gemma3n",
        by_token=("token_embd.weight", "per_layer_token_embd.weight"),
        derive=_gemma3n,
    ),
    Form(
        written="gemma4",
        name="gemma4",
        tensors={"ffn_gate_inp.per_expert_scale": "ffn_down_exps.scale"},
        derive=_gemma4,
    ),
    Form(
        written="glm4moelite",
        name="deepseek2",
        keys={
            "attention.key_length": "attention.key_length_mla",
            "attention.key_length_mla": "attention.key_length",
            "attention.value_length": "attention.value_length_mla",
            "attention.value_length_mla": "attention.value_length",
        },
        values={"attention.head_count_kv": 1},
        pre="glm4",
        derive=_several_ends,
    ),
    Form(
        written="glmocr",
        name="glm4",
        keys={
            "rope.mrope_section": "rope.dimension_sections",
            "rope.dimension_count": "",
        },
        tensors={
            "attn_out.weight": "attn_output.weight",
            "post_attn_norm.weight": "post_attention_norm.weight",
            "post_ffn_norm.weight": "post_ffw_norm.weight",
        },
        pre="chatglm-bpe",
    ),
    Form(
        written="gptoss",
        name="gpt-oss",
        tensors={
            "attn_out.weight": "attn_output.weight",
            "attn_out.bias": "attn_output.bias",
            "attn_sinks": "attn_sinks.weight",
            "ffn_norm.weight": "post_attention_norm.weight",
        },
        defaults={"rope.scaling.type": "yarn"},
        pre="gpt-4o",
    ),
    Form(written="lfm2", name="lfm2", pre="lfm2"),
    Form(written="llama", name="llama", derive=_llama3),
    Form(
        written="mistral3",
        name="mistral3",
        keys={
            "rope.scaling.beta_fast": "rope.scaling.yarn_beta_fast",
            "rope.scaling.beta_slow": "rope.scaling.yarn_beta_slow",
            "rope.scaling.mscale_all_dim": "rope.scaling.yarn_log_multiplier",
            "rope.scaling_beta": "attention.temperature_scale",
        },
        pre="tekken",
    ),
    Form(written="nemotron_h_moe", name="nemotron_h_moe", tensors=_LATENT),
    Form(written="nemotron_h_omni", name="nemotron_h_moe", tensors=_LATENT),
    Form(written="olmo3", name="olmo2"),
    Form(written="qwen25vl", name="qwen2vl", keys=_SECTIONS),
    Form(written="qwen3next", name="qwen3next", tensors=_DELTA),
    Form(written="qwen35", name="qwen35", tensors=_DELTA),
    Form(written="qwen35moe", name="qwen35moe", tensors=_DELTA),
    Form(written="qwen3vl", name="qwen3vl", defaults=_QWEN3VL),
    Form(written="qwen3vlmoe", name="qwen3vlmoe", defaults=_QWEN3VL),
)


def form_of(file: GGUFFile) -> Form:
    """How the file is written; as llama.cpp writes, where nothing else is known."""
    arch = file.architecture
    known = (form for form in FORMS if form.written == arch and form.matches(file))
    return next(known, Form(written=arch, name=arch))
