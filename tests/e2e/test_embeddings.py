"""Embeddings from a client to an engine and back, with the official Ollama client."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import ollama
import pytest

from cama.gguf.encode import Writable
from cama.gguf.values import U32
from tests.e2e.conftest import World
from tests.rewriting import rewrite

pytestmark = [pytest.mark.e2e, pytest.mark.native]

TEXTS = ["The cat sits outside.", "", "a b c " * 20, "zürich 東京"]


@pytest.fixture
def client(server: World) -> Iterator[ollama.Client]:
    with ollama.Client(server.url, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def embedder(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small model that was made for embedding, with 2048 tokens of context."""
    target = tmp_path_factory.mktemp("embedder") / "embedder.gguf"
    return str(rewrite(tiny_model("qwen3"), target, {"qwen3.pooling_type": U32(1)}))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def test_client_embeds_texts_together_as_one_by_one(client: ollama.Client, embedder: str) -> None:
    together = client.embed(embedder, TEXTS)
    assert [math.hypot(*v) for v in together.embeddings] == pytest.approx([1] * 4, abs=1e-5)
    one_by_one = [client.embed(embedder, [text]) for text in TEXTS]
    for vector, alone in zip(together.embeddings, one_by_one, strict=True):
        assert cosine(vector, alone.embeddings[0]) > 0.9999
    counts = [alone.prompt_eval_count or 0 for alone in one_by_one]
    assert together.prompt_eval_count == sum(counts)
    assert together.total_duration
    assert client.embed(embedder, "").embeddings == []


def test_older_endpoint_gives_the_vector_with_its_length(
    client: ollama.Client, embedder: str
) -> None:
    raw = client.embeddings(embedder, TEXTS[0]).embedding
    (normalised,) = client.embed(embedder, TEXTS[0]).embeddings
    assert math.hypot(*raw) > 2
    assert cosine(raw, normalised) > 0.9999
    assert list(client.embeddings(embedder, "").embedding) == []


def test_dimensions_are_cut_and_normalised_again(client: ollama.Client, embedder: str) -> None:
    (whole,) = client.embed(embedder, TEXTS[0]).embeddings
    (cut,) = client.embed(embedder, TEXTS[0], dimensions=16).embeddings
    assert len(cut) == 16
    assert math.hypot(*cut) == pytest.approx(1, abs=1e-5)
    assert cosine(cut, whole[:16]) > 0.9999
    assert len(client.embed(embedder, TEXTS[0], dimensions=4096).embeddings[0]) == len(whole) == 256


def test_long_texts_are_cut_or_refused(client: ollama.Client, embedder: str) -> None:
    long = "word " * 200
    options = {"num_ctx": 64}
    cut = client.embed(embedder, [long, "short"], options=options)
    assert len(cut.embeddings) == 2
    assert cut.prompt_eval_count
    assert cut.prompt_eval_count < 100
    with pytest.raises(ollama.ResponseError) as caught:
        client.embed(embedder, ["short", long], truncate=False, options=options)
    assert caught.value.status_code == 400
    assert caught.value.error == "the input length exceeds the context length"


def test_eight_clients_at_once(client: ollama.Client, embedder: str) -> None:
    wanted = client.embed(embedder, TEXTS).embeddings

    def ask(_: int) -> bool:
        answers = [client.embed(embedder, TEXTS).embeddings for _ in range(3)]
        pairs = [pair for answer in answers for pair in zip(answer, wanted, strict=True)]
        return all(cosine(a, b) > 0.999 for a, b in pairs)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_embedding_while_an_answer_streams(client: ollama.Client, endless: str) -> None:
    options = {"temperature": 0, "num_predict": 40}
    alone = client.generate(endless, "Tell me", options=options).response
    stream = client.generate(endless, "Tell me", options=options, stream=True)
    parts = [next(stream).response or ""]
    assert len(client.embed(endless, TEXTS).embeddings) == len(TEXTS)
    parts += [part.response or "" for part in stream]
    assert "".join(parts) == alone


def test_a_client_that_leaves_ends_its_work(
    client: ollama.Client, server: World, embedder: str
) -> None:
    client.embed(embedder, "warm")
    body = {"model": embedder, "input": ["many words " * 500] * 500}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/api/embed", json=body, timeout=0.5, trust_env=False)
    assert len(client.embed(embedder, "next").embeddings) == 1


def test_an_embedding_model_does_not_generate(client: ollama.Client, embedder: str) -> None:
    assert client.show(embedder).capabilities == ["embedding"]
    with pytest.raises(ollama.ResponseError, match="does not support generate"):
        client.generate(embedder, "Hello")


def test_a_reranker_orders_documents(
    client: ollama.Client,
    server: World,
    tiny_model: Callable[..., Path],
    tmp_path: Path,
    embedder: str,
) -> None:
    head: dict[str, Writable] = {
        "qwen3.pooling_type": U32(4),
        "qwen3.classifier.output_labels": ["yes", "no"],
        "tokenizer.chat_template.rerank": "about {query}: {document}",
    }
    weight = np.random.default_rng(2).standard_normal((2, 256), np.float32) / np.float32(16)
    path = rewrite(tiny_model("qwen3"), tmp_path / "r.gguf", head, {"cls.output.weight": weight})
    documents = ["x y z", "a", "{query} b c", "d e f g"]

    def ask(model: str, documents: list[str]) -> httpx.Response:
        body = {"model": model, "query": "{document}", "documents": documents}
        return httpx.post(f"{server.url}/api/rerank", json=body, timeout=60, trust_env=False)

    results = ask(str(path), documents).json()["results"]
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(documents)
    for result in results:
        (alone,) = ask(str(path), [documents[result["index"]]]).json()["results"]
        assert alone["relevance_score"] == pytest.approx(result["relevance_score"], abs=1e-3)
    for refused in (ask(embedder, documents), ask(str(tiny_model("llama")), documents)):
        assert refused.status_code == 400
        assert refused.json() == {"error": "this model does not rank documents"}
    with pytest.raises(ollama.ResponseError, match="ranks documents") as caught:
        client.embed(str(path), "x")
    assert caught.value.status_code == 400


def test_run_prints_a_vector(server: World, client: ollama.Client, embedder: str) -> None:
    printed = server.cama("run", embedder, TEXTS[0])
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.count("\n") == 1
    (vector,) = client.embed(embedder, TEXTS[0]).embeddings
    assert cosine(json.loads(printed.stdout), vector) > 0.9999


def test_a_real_model_tells_likeness(client: ollama.Client, shared_data: Path) -> None:
    folder = shared_data / "embedding"
    golden = json.loads((folder / "all-MiniLM-L6-v2.golden.json").read_text())
    model = str(folder / "all-MiniLM-L6-v2-Q8_0.gguf")
    vectors = client.embed(model, [case["text"] for case in golden["cases"]]).embeddings
    for vector, case in zip(vectors, golden["cases"], strict=True):
        assert cosine(vector, case["reference"]) > 0.999
    for i, row in enumerate(golden["cosine_matrix"]):
        assert [cosine(vectors[i], v) for v in vectors] == pytest.approx(row, abs=0.02)
