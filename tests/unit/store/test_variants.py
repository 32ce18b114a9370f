"""Which file of a repository is taken: tables of real repositories."""

import pytest

from cama.core.errors import InvalidRequest, UnsupportedModel
from cama.store.variants import RepoFile, choose, named, projector, variants

GB = 10**9
GIB = 2**30

EIGHT = {
    "IQ2_M": 2.95, "Q2_K": 3.18, "Q3_K_M": 4.02, "IQ4_XS": 4.45, "Q4_0": 4.66, "Q4_K_S": 4.69,
    "Q4_K_M": 4.92, "Q4_1": 5.13, "Q5_K_M": 5.73, "Q6_K": 6.6, "Q8_0": 8.54, "f32": 32.13,
}  # fmt: skip
"""Sizes in GB of the files of an 8B model."""


def repository(sizes: dict[str, float], name: str = "Llama-3.1-8B-Instruct") -> list[RepoFile]:
    return [RepoFile(f"{name}-{quant}.gguf", int(size * GB)) for quant, size in sizes.items()]


def scaled(factor: float) -> list[RepoFile]:
    return repository({quant: size * factor for quant, size in EIGHT.items()})


@pytest.mark.parametrize(
    ("factor", "memory", "expected"),
    [
        (1, 64, "Q8_0"),  # room for twice as much
        (1, 20, "Q8_0"),
        (1, 16, "Q6_K"),
        (1, 12, "Q4_K_M"),
        (1, 8, "Q4_K_M"),
        (1, 6, "Q4_K_M"),
        (1, 5.5, "Q4_K_S"),
        (1, 4.5, "Q2_K"),
        (1, 3.9, "IQ2_M"),
        (1, 2, "IQ2_M"),  # nothing fits
        (1 / 8, 16, "Q8_0"),
        (1 / 8, 2, "Q4_K_M"),
        (70 / 8, 128, "Q6_K"),
        (70 / 8, 80, "Q4_K_M"),
        (70 / 8, 48, "Q4_K_M"),
        (70 / 8, 24, "IQ2_M"),
    ],
)
def test_choose_suits_the_machine(factor: float, memory: float, expected: str) -> None:
    found = variants(scaled(factor))
    chosen, reason = choose(found, memory_bytes=int(memory * GIB), n_tokens=4096)
    assert chosen.name == expected, reason
    assert reason.startswith(f"{expected} ")


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (20, "Q8_0 takes 9.0 GiB with 4096 tokens of context, at most half of 20.0 GiB of memory"),
        (
            8,
            "Q4_K_M takes 5.6 GiB with 4096 tokens of context and fits in 8.0 GiB of memory; "
            "Q5_K_M would take more than half of it",
        ),
        (
            5,
            "Q3_K_M takes 4.8 GiB with 4096 tokens of context and fits in 5.0 GiB of memory; "
            "IQ4_XS would not",
        ),
        (2, "IQ2_M is the smallest, but takes 3.8 GiB with 4096 tokens of context, "
            "more than 2.0 GiB of memory"),
    ],
)  # fmt: skip
def test_choose_says_why(memory: int, reason: str) -> None:
    found = variants(scaled(1))
    assert choose(found, memory_bytes=memory * GIB, n_tokens=4096)[1] == reason


def test_choose_leaves_room_for_the_context() -> None:
    found = variants(scaled(1))
    for n_tokens, expected in ((2048, "Q6_K"), (32768, "Q4_K_M"), (131072, "IQ2_M")):
        assert choose(found, memory_bytes=15 * GIB, n_tokens=n_tokens)[0].name == expected


def test_choose_prefers_k_quants_to_older_ones() -> None:
    found = variants(repository({"Q4_1": 5.13, "Q4_K_S": 4.69}))
    assert choose(found, memory_bytes=8 * GIB, n_tokens=2048)[0].name == "Q4_K_S"


def test_choose_takes_the_only_one() -> None:
    found = variants([RepoFile("gemma-3-4b-it-q4_0.gguf", 3 * GB), RepoFile("README.md", 1)])
    chosen, reason = choose(found, memory_bytes=GIB, n_tokens=4096)
    assert (chosen.name, reason) == ("Q4_0", "Q4_0 is the only one there is")


def test_choose_takes_half_precision_where_there_is_nothing_else() -> None:
    found = variants(repository({"f16": 2.0, "f32": 4.0}))
    chosen, reason = choose(found, memory_bytes=16 * GIB, n_tokens=4096)
    assert (chosen.name, reason) == ("F16", "F16 is the smallest, and fits in 16.0 GiB of memory")


def test_choose_from_nothing_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="no GGUF file of a model"):
        choose(variants([RepoFile("model.safetensors", GB)]), memory_bytes=GIB, n_tokens=1)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("tinyllama-1.1b-chat-v1.0.Q2_K.gguf", "Q2_K"),
        ("gemma-3-4b-it-q4_0.gguf", "Q4_0"),
        ("Meta-Llama-3-8B-Instruct-fp16.gguf", "F16"),
        ("Qwen3-8B-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("BF16/model.gguf", "BF16"),
        ("Llama-3.2-1B-Instruct-Q4_K_M-imat.gguf", "Q4_K_M"),
        ("Q8_0/model-Q6_K.gguf", "Q6_K"),
        ("stories260K.gguf", "stories260K"),
        ("PREQ4_0MODEL.gguf", "PREQ4_0MODEL"),
    ],
)
def test_variants_know_the_quantization(path: str, name: str) -> None:
    assert [v.name for v in variants([RepoFile(path, 1)])] == [name]


def test_variants_join_parts() -> None:
    parts = [RepoFile(f"Q8_0/m-Q8_0-0000{i}-of-00003.gguf", i * GB) for i in (3, 1, 2)]
    [variant] = variants(parts)
    assert [file.size for file in variant.files] == [GB, 2 * GB, 3 * GB]
    assert (variant.name, variant.size) == ("Q8_0", 6 * GB)
    assert variants(parts[:2]) == []


def test_variants_are_models_only() -> None:
    files = ["mmproj-F16.gguf", "imatrix.gguf", "README.md", "m.safetensors", "empty-Q8_0.gguf"]
    assert variants([RepoFile(name, 0 if "empty" in name else 1) for name in files]) == []


def test_projector_is_of_half_precision() -> None:
    files = [RepoFile(f"mmproj-model-{kind}.gguf", 1) for kind in ("f32", "bf16", "F16")]
    chosen = projector(files)
    assert chosen is not None
    assert chosen.path == "mmproj-model-F16.gguf"
    assert projector([RepoFile("model-F16.gguf", 1)]) is None


@pytest.mark.parametrize("tag", ["Q4_K_M", "q4_k_m", "m-Q4_K_M.gguf", "M-q4_k_m", "m-Q4_K_M.GGUF"])
def test_named_takes_quantizations_and_files(tag: str) -> None:
    found = variants(repository({"Q4_K_M": 2, "Q8_0": 4}, "m"))
    assert named(found, tag).name == "Q4_K_M"


def test_named_says_what_there_is() -> None:
    found = variants(repository({"Q4_K_M": 2, "Q8_0": 4}))
    with pytest.raises(InvalidRequest, match=r"has no Q5_K_M; it has Q4_K_M, Q8_0$"):
        named(found, "Q5_K_M")
    with pytest.raises(InvalidRequest, match="it has no GGUF file"):
        named([], "Q5_K_M")


def test_named_asks_which_of_two() -> None:
    found = variants([RepoFile("a-Q8_0.gguf", 1), RepoFile("b-Q8_0.gguf", 2)])
    with pytest.raises(InvalidRequest, match=r"ambiguous, name a file instead: a-Q8_0\.gguf, b-"):
        named(found, "Q8_0")
    assert named(found, "b-Q8_0").size == 2
