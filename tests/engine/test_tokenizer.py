"""libllama's vocabulary behind the Tokenizer protocol, against reference ids."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import EngineError, InvalidRequest, LoadFailed
from cama.engine.base import Tokenizer
from cama.engine.tokenizer import LlamaTokenizer

pytestmark = pytest.mark.native

NAMES = (
    "bert-bge", "deepseek-llm", "gemma-4", "gpt-2", "llama-bpe", "llama-spm", "mpt", "phi-3",
    "qwen2", "qwen35", "refact", "starcoder",
)  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def vocabulary(request: pytest.FixtureRequest, shared_data: Path) -> Iterator[tuple[str, Any]]:
    name: str = request.param
    with LlamaTokenizer(shared_data / "tokenizers" / f"ggml-vocab-{name}.gguf") as tokenizer:
        yield name, tokenizer


@pytest.fixture(scope="module")
def small(shared_data: Path) -> Iterator[LlamaTokenizer]:
    with LlamaTokenizer(shared_data / "stories260K" / "stories260K-Q8_0.gguf") as tokenizer:
        yield tokenizer


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((shared_data / "tokenizers/extra.golden.json").read_bytes())
    return data


def upstream_cases(folder: Path, name: str) -> list[tuple[str, list[int]]]:
    texts = (folder / f"ggml-vocab-{name}.gguf.inp").read_bytes().decode()
    lines = (folder / f"ggml-vocab-{name}.gguf.out").read_text().splitlines()
    pairs = zip(texts.split("\n__ggml_vocab_test__\n"), lines, strict=False)
    return [(text, [int(word) for word in line.split()]) for text, line in pairs]


def test_tokenizer_gives_the_ids_of_the_upstream_vectors(
    vocabulary: tuple[str, LlamaTokenizer], shared_data: Path
) -> None:
    name, tokenizer = vocabulary
    cases = upstream_cases(shared_data / "tokenizers", name)
    assert len(cases) >= 46
    for text, ids in cases:
        assert tokenizer.encode(text, add_special=False, parse_special=False) == ids, repr(text)


def test_tokenizer_gives_the_ids_of_more_texts(
    vocabulary: tuple[str, LlamaTokenizer], golden: dict[str, Any]
) -> None:
    name, tokenizer = vocabulary
    facts = golden["vocabs"][name]
    texts = [*golden["texts"], facts["special_text"]]
    for text, case in zip(texts, facts["cases"], strict=True):
        assert tokenizer.encode(text, add_special=False, parse_special=False) == case["plain"]
        assert tokenizer.encode(text, add_special=True, parse_special=True) == case["special"]


def test_tokenizer_gives_the_text_of_ids(
    vocabulary: tuple[str, LlamaTokenizer], golden: dict[str, Any]
) -> None:
    name, tokenizer = vocabulary
    noted = [case for case in golden["vocabs"][name]["cases"] if "text_plain" in case]
    assert noted
    for case in noted:
        assert tokenizer.decode(case["plain"]) == case["text_plain"]
        assert tokenizer.decode(case["special"], special=True) == case["text_special"]


def test_tokenizer_knows_its_special_tokens(
    vocabulary: tuple[str, LlamaTokenizer], golden: dict[str, Any]
) -> None:
    name, tokenizer = vocabulary
    facts = golden["vocabs"][name]
    special = {"bos": tokenizer.bos, "eos": tokenizer.eos, "eot": tokenizer.eot}
    assert special == {key: None if facts[key] < 0 else facts[key] for key in special}
    assert tokenizer.end_of_generation == set(facts["eog"])
    assert (tokenizer.add_bos, tokenizer.add_eos) == (facts["add_bos"], facts["add_eos"])
    assert tokenizer.n_tokens == facts["n"]


def test_tokenizer_survives_a_long_word(vocabulary: tuple[str, LlamaTokenizer]) -> None:
    _, tokenizer = vocabulary
    ids = tokenizer.encode("a" * 100_000, add_special=False, parse_special=False)
    assert tokenizer.decode(ids).strip() == "a" * 100_000


def test_tokenizer_is_what_the_engines_promise(small: LlamaTokenizer) -> None:
    tokenizer: Tokenizer = small
    assert tokenizer.bos == 1
    assert (small.bos_text, small.eos_text) == ("<s>", "</s>")


def test_tokenizer_encodes_a_megabyte(small: LlamaTokenizer) -> None:
    text = "once upon a time " * 62_000
    ids = small.encode(text, add_special=False, parse_special=False)
    assert small.decode(ids) == text


def test_tokenizer_encodes_nothing_to_nothing(small: LlamaTokenizer) -> None:
    assert small.encode("", add_special=False, parse_special=False) == []
    assert small.decode([]) == ""


def test_tokenizer_keeps_what_follows_a_nul(small: LlamaTokenizer) -> None:
    ids = small.encode("a\0b", add_special=False, parse_special=False)
    assert small.decode(ids) == "a\0b"


def test_tokenizer_refuses_half_a_surrogate_pair(small: LlamaTokenizer) -> None:
    with pytest.raises(InvalidRequest) as caught:
        small.encode("ab\ud83d", add_special=False, parse_special=False)
    assert caught.value.fields == {"index": 2}


def test_pieces_of_a_text_join_to_it(small: LlamaTokenizer) -> None:
    ids = small.encode("Tom ate 日本 😀.", add_special=True, parse_special=False)
    text = b"".join(small.piece(token) for token in ids).decode()
    assert text == " Tom ate 日本 😀."


def test_piece_of_a_control_token_is_empty(small: LlamaTokenizer) -> None:
    assert small.piece(1) == b""


@pytest.mark.parametrize("token", [-1, 512, 2**31, 2**70])
def test_tokenizer_refuses_what_is_no_token(small: LlamaTokenizer, token: int) -> None:
    with pytest.raises(InvalidRequest):
        small.piece(token)
    with pytest.raises(InvalidRequest):
        small.decode([1, token])


def test_tokenizer_serves_many_threads(small: LlamaTokenizer) -> None:
    text = "Lily and Ben played in the park. " * 20
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(
            lambda _: small.encode(text, add_special=True, parse_special=True), range(64)
        )
    assert len({tuple(ids) for ids in found}) == 1


def test_tokenizer_of_a_file_that_is_no_model_fails_at_first_use(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not a model")
    with LlamaTokenizer(path) as tokenizer, pytest.raises(LoadFailed, match="invalid magic"):
        tokenizer.encode("a", add_special=False, parse_special=False)


def test_tokenizer_of_a_missing_file_fails_every_time(tmp_path: Path) -> None:
    with LlamaTokenizer(tmp_path / "none.gguf") as tokenizer:
        for _ in range(2):
            with pytest.raises(LoadFailed, match="No such file"):
                _ = tokenizer.bos


def test_closed_tokenizer_refuses_to_work(shared_data: Path) -> None:
    tokenizer = LlamaTokenizer(shared_data / "stories260K" / "stories260K-Q8_0.gguf")
    tokenizer.close()
    tokenizer.close()
    with pytest.raises(EngineError, match="closed"):
        tokenizer.piece(1)
