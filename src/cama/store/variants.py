"""Which of the GGUF files of a repository to take: by name, or what suits this machine best."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from cama.core.errors import InvalidRequest, UnsupportedModel
from cama.core.size import gibibytes
from cama.gguf.split import part_names

BITS: Final = {
    "F32": 32.0, "BF16": 16.0, "F16": 16.0, "FP16": 16.0, "Q8_K_XL": 10.0, "Q8_0": 8.5,
    "Q6_K_XL": 7.2, "Q6_K_L": 6.7, "Q6_K": 6.56, "Q5_K_L": 5.8, "Q5_K_XL": 5.75, "Q5_K_M": 5.69,
    "Q5_K_S": 5.54, "Q5_K": 5.69, "Q5_1": 6.0, "Q5_0": 5.54, "Q4_K_L": 5.0, "Q4_K_XL": 4.95,
    "Q4_K_M": 4.89, "Q4_K": 4.89, "Q4_K_S": 4.67, "Q4_1": 5.0, "Q4_0": 4.55, "IQ4_NL": 4.56,
    "NVFP4": 4.5, "IQ4_XS": 4.46, "MXFP4_MOE": 4.25, "MXFP4": 4.25, "Q3_K_XL": 4.2,
    "Q3_K_L": 4.22, "Q3_K_M": 3.98, "Q3_K": 3.98, "Q3_K_S": 3.64, "IQ3_M": 3.76, "IQ3_S": 3.66,
    "IQ3_XS": 3.5, "IQ3_XXS": 3.25, "Q2_K_L": 3.2, "Q2_K_XL": 3.18, "Q2_K": 3.16, "Q2_K_S": 2.97,
    "IQ2_M": 2.93, "IQ2_S": 2.74, "IQ2_XS": 2.59, "IQ2_XXS": 2.38, "TQ2_0": 2.06, "IQ1_M": 2.15,
    "IQ1_S": 2.0, "TQ1_0": 1.69,
}  # fmt: skip
"""Bits of a weight in files of each type, as llama.cpp's table of Llama 3.1 8B gives them."""

_OLDER: Final = {"Q4_0", "Q4_1", "Q5_0", "Q5_1"}
"""Types that a K-quant of less bits is better than."""

_OLDER_COST: Final = 0.7

_USUAL_BITS: Final = 5.1
"""Up to here every bit is worth its memory; the bits above hardly show in answers."""

_MOST_BITS: Final = 8.5
"""More than that nobody takes who does not ask for it by name."""

_CACHE_BYTES: Final = 32 << 10
"""Of a token, for a model of 10^9 parameters: the cache grows with the power 0.7 of that number
(Llama 3: 32 KiB at 1B, 128 KiB at 8B, 320 KiB at 70B)."""

_PROCESS_BYTES: Final = 512 << 20

_NAMES: Final = "|".join(sorted(BITS, key=len, reverse=True))
_QUANTIZATION: Final = re.compile(rf"(?:^|[-._/])({_NAMES})(?=$|[-._/])", re.IGNORECASE)
_LIMIT: Final = 20


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file of a repository; ``digest`` (``sha256:HEX``) is empty where that is not known."""

    path: str
    size: int
    digest: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the forms that a repository has a model in.

    ``name`` is its quantization in capitals, or the file's name where that tells none. ``files``
    are all parts in order. ``bits`` of a weight are 0 where they are unknown.
    """

    name: str
    files: tuple[RepoFile, ...]
    bits: float = 0.0

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def quality(self) -> float:
        return self.bits - (_OLDER_COST if self.name in _OLDER else 0.0)


def variants(files: Iterable[RepoFile]) -> list[Variant]:
    """The models among ``files``, the smallest first; one whose parts are not all there is none."""
    by_path = {file.path: file for file in files if _is_model(file)}
    found = []
    for file in by_path.values():
        folder = PurePosixPath(file.path).parent
        paths = [str(folder / name) for name in part_names(file.name)] or [file.path]
        if file.path == paths[0] and all(path in by_path for path in paths):
            name = _quantization(paths[0])
            parts = tuple(by_path[path] for path in paths)
            found.append(Variant(name or PurePosixPath(paths[0]).stem, parts, BITS.get(name, 0.0)))
    return sorted(found, key=lambda variant: (variant.size, variant.name))


def projector(files: Iterable[RepoFile]) -> RepoFile | None:
    """The projector that a model which sees needs; half precision where there are several."""
    order = ("F16", "FP16", "BF16", "Q8_0", "F32")
    found = [file for file in files if _is_projector(file) and not part_names(file.name)]
    ranks = {name: rank for rank, name in enumerate(order)}
    return min(
        found,
        key=lambda file: (ranks.get(_quantization(file.path), len(order)), file.path),
        default=None,
    )


def named(found: Sequence[Variant], tag: str) -> Variant:
    """The variant that ``tag`` names: its file or its quantization, in any case.

    Raises InvalidRequest, with what there is.
    """
    wanted = tag.lower()
    exact = [v for v in found if wanted in _file_names(v)]
    matching = exact or [v for v in found if v.name.lower() == wanted]
    if len(matching) == 1:
        return matching[0]
    if matching:
        choices = ", ".join(v.files[0].name for v in matching[:_LIMIT])
        raise InvalidRequest(f"{tag} is ambiguous, name a file instead: {choices}", tag=tag)
    choices = ", ".join(dict.fromkeys(v.name for v in found[:_LIMIT])) or "no GGUF file"
    raise InvalidRequest(f"the repository has no {tag}; it has {choices}", tag=tag)


def choose(
    found: Sequence[Variant], *, memory_bytes: int, n_tokens: int, n_parameters: int = 0
) -> tuple[Variant, str]:
    """The variant that suits a machine with ``memory_bytes``, and the reason in words.

    It is the best one of at most about five bits a weight that fits with a cache of ``n_tokens``;
    more bits are taken where the whole then needs at most half of the memory. Raises
    UnsupportedModel when there is none at all.
    """
    if not found:
        raise UnsupportedModel("the repository has no GGUF file of a model")
    if len(found) == 1:
        return found[0], f"{found[0].name} is the only one there is"
    n_parameters = n_parameters or _count_parameters(found)
    needs = {v.files[0].path: _need(v, n_tokens, n_parameters) for v in found}

    def need(variant: Variant) -> int:
        return needs[variant.files[0].path]

    memory = f"{gibibytes(memory_bytes)} of memory"
    context = f"with {n_tokens} tokens of context"
    wide = [v for v in found if _USUAL_BITS < v.bits <= _MOST_BITS and need(v) * 2 <= memory_bytes]
    if wide:
        best = max(wide, key=lambda v: v.quality)
        return (
            best,
            f"{best.name} takes {gibibytes(need(best))} {context}, at most half of {memory}",
        )
    usual = [v for v in found if v.bits <= _USUAL_BITS and need(v) <= memory_bytes]
    if usual:
        best = max(usual, key=lambda v: (v.quality, v.size))
        text = f"{best.name} takes {gibibytes(need(best))} {context} and fits in {memory}"
        better = next((v for v in found if v.quality > best.quality), None)
        if better is not None:
            fits = need(better) <= memory_bytes
            text += f"; {better.name} would {'take more than half of it' if fits else 'not'}"
        return best, text
    fitting = [v for v in found if need(v) <= memory_bytes]
    if fitting:
        return fitting[0], f"{fitting[0].name} is the smallest, and fits in {memory}"
    text = f"{found[0].name} is the smallest, but takes {gibibytes(need(found[0]))} {context}"
    return found[0], f"{text}, more than {memory}"


def _need(variant: Variant, n_tokens: int, n_parameters: int) -> int:
    """Bytes of memory to run ``variant``, about."""
    cache = _CACHE_BYTES * (n_parameters / 1e9) ** 0.7 * n_tokens
    return variant.size + int(cache) + _PROCESS_BYTES


def _count_parameters(found: Sequence[Variant]) -> int:
    known = max((v for v in found if v.bits), key=lambda v: v.bits, default=None)
    if known is not None:
        return int(known.size * 8 / known.bits)
    return found[0].size * 2  # of files that say nothing, the smallest will have about four bits


def _is_model(file: RepoFile) -> bool:
    lower = file.name.lower()
    is_gguf = lower.endswith(".gguf") and file.size > 0
    return is_gguf and not _is_projector(file) and "imatrix" not in lower


def _is_projector(file: RepoFile) -> bool:
    lower = file.name.lower()
    return lower.endswith(".gguf") and "mmproj" in lower


def _quantization(path: str) -> str:
    """The quantization in a file's name, else in those of its folders, in capitals; or nothing."""
    parts = PurePosixPath(path)
    for text in (parts.stem, *(folder.name for folder in parts.parents)):
        if found := _QUANTIZATION.findall(text):
            name = found[-1].upper()
            return "F16" if name == "FP16" else name
    return ""


def _file_names(variant: Variant) -> set[str]:
    """What a tag may call the file of ``variant``."""
    name = variant.files[0].name.lower()
    return {name, name.removesuffix(".gguf")}
