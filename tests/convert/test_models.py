"""Converted models answer as their originals do, on both engines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cama.core.errors import CamaError, InvalidModelFile, UnsupportedModel
from cama.core.load import LoadOptions
from cama.engine.base import Embeds, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.engine import NativeEngine
from cama.engine.select import open_engine
from cama.gguf import GGMLType, GGUFFile
from tests.convert import tokenizers_made
from tests.convert.checkpoints import CONFIGS, N_VOCAB, Made, make, save
from tests.convert.conftest import convert
from tests.convert.reference import decode, encode

pytestmark = pytest.mark.native

LOAD = LoadOptions(n_ctx=64, n_batch=64, n_cells=256, n_threads=1, cache_type="f32")
IDS = [3 + (i * 37) % (N_VOCAB - 10) for i in range(24)]
TOLERANCE = {"gemma": 2e-2, "gemma2": 2e-2, "gemma3": 2e-2}
"""The CPU looks a GELU up in a table of float16."""

MakeModel = Callable[..., Made]


@pytest.fixture(scope="session")
def made_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """A checkpoint with a byte-level tokenizer."""

    def build(name: str, **fields: Any) -> Made:
        made = make(tmp_path_factory.mktemp(name), name, **fields)
        kind = tokenizers_made.wordpiece(lowercase=True) if name == "bert" else TOKENIZER
        tokenizers_made.save(kind, made.folder, bos_token="<|begin|>", eos_token="<|end|>")
        return made

    return build


TOKENIZER = tokenizers_made.byte_level("llama-bpe")


def logits(path: Path, kind: Any) -> NDArray[np.float32]:
    engine = kind.open(path, LOAD, "test", lambda _: None)
    try:
        rows: NDArray[np.float32] = engine.forward(Plan((Span(SeqId(0), 0, IDS, len(IDS)),))).copy()
        return rows
    finally:
        engine.close()


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "bert"])
def test_logits_are_those_of_the_original(made_model: MakeModel, tmp_path: Path, name: str) -> None:
    made = made_model(name)
    convert(made, tmp_path / "m.gguf")
    expected = decode(made.weights, made.config, IDS)
    assert expected.std() > 0.3
    for engine in (NativeEngine, LlamaEngine):
        found = logits(tmp_path / "m.gguf", engine)
        assert np.abs(found - expected).max() < TOLERANCE.get(name, 2e-4), engine


def test_vectors_of_an_encoder_are_those_of_the_original(
    made_model: MakeModel, tmp_path: Path
) -> None:
    made = made_model("bert")
    convert(made, tmp_path / "m.gguf")
    for choice in ("native", "llama"):
        load = LoadOptions(n_ctx=64, n_batch=64, n_threads=1, engine=choice)
        engine = open_engine(tmp_path / "m.gguf", load, lambda _: None)
        assert isinstance(engine, Embeds)
        try:
            found = engine.embed([IDS])[0]
        finally:
            engine.close()
        expected = encode(made.weights, made.config, IDS).mean(axis=0)
        cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
        assert cosine > 0.99999, choice


@pytest.mark.parametrize("n_shards", [1, 3])
def test_shards_and_halves_keep_their_values(
    made_model: MakeModel, tmp_path: Path, n_shards: int
) -> None:
    made = made_model("qwen3", dtype="BF16", n_shards=n_shards)
    convert(made, tmp_path / "m.gguf", "16")
    with GGUFFile.open(tmp_path / "m.gguf") as file:
        types = {tensor.type for tensor in file.tensors.values() if len(tensor.shape) > 1}
        assert types == {GGMLType.BF16}
        assert file.file_type_name == "BF16"
    assert (
        np.abs(
            logits(tmp_path / "m.gguf", LlamaEngine) - decode(made.weights, made.config, IDS)
        ).max()
        < 0.3
    )


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [("F32", "F32"), ("F16", "F16"), ("BF16", "BF16"), ("source", "F32"), ("16", "F16")],
)
def test_matrices_get_the_wanted_type(
    made_model: MakeModel, tmp_path: Path, wanted: str, kind: str
) -> None:
    made = made_model("llama")
    convert(made, tmp_path / "m.gguf", wanted)
    source = made.weights["model.layers.1.mlp.up_proj.weight"]
    with GGUFFile.open(tmp_path / "m.gguf") as file:
        tensor = file.tensors["blk.1.ffn_up.weight"]
        assert (tensor.type.name, tensor.shape) == (kind, source.shape[::-1])
        assert file.tensors["blk.1.ffn_norm.weight"].type is GGMLType.F32
        data = bytes(file.data("blk.1.ffn_up.weight"))
    match kind:
        case "BF16":
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
            # to the nearest: half a step of eight bits
            assert np.all(np.abs(values - source.ravel()) <= np.abs(source.ravel()) / 256)
        case "F16":
            assert data == source.astype("<f2").tobytes()
        case _:
            assert data == source.tobytes()


def test_what_the_makers_recommend_is_kept(made_model: MakeModel, tmp_path: Path) -> None:
    made = made_model("llama")
    generation = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [297, 298]}
    (made.folder / "generation_config.json").write_text(json.dumps(generation))
    (made.folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    convert(made, tmp_path / "m.gguf")
    with GGUFFile.open(tmp_path / "m.gguf") as file:
        assert file.get("general.sampling.temp") == pytest.approx(0.6)
        assert file.get("general.sampling.top_k") == 20
        assert file.get("tokenizer.chat_template") == "{{ messages[0].content }}"
        assert file.get("tokenizer.ggml.eot_token_id") == 298


def test_a_window_that_nobody_applies_is_said(made_model: MakeModel, tmp_path: Path) -> None:
    notes = ["beyond 64 tokens the sliding window is not applied"]
    assert convert(made_model("mistral"), tmp_path / "m.gguf") == notes
    assert convert(made_model("llama"), tmp_path / "n.gguf") == []


def _without(name: str) -> Callable[[Made], None]:
    def change(made: Made) -> None:
        made.weights.pop(name)
        save(made.folder, made.weights)

    return change


def _with(name: str) -> Callable[[Made], None]:
    def change(made: Made) -> None:
        made.weights[name] = np.ones((2, 2), np.float32)
        save(made.folder, made.weights)

    return change


def _config(**fields: Any) -> Callable[[Made], None]:
    def change(made: Made) -> None:
        text = json.dumps(dict(made.config) | fields)
        (made.folder / "config.json").write_text(text)

    return change


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (_without("model.layers.1.mlp.up_proj.weight"), InvalidModelFile, "blk.1.ffn_up.weight"),
        (_without("lm_head.weight"), InvalidModelFile, "lm_head.weight is missing"),
        (_without("model.embed_tokens.weight"), InvalidModelFile, "embeddings of tokens"),
        (_with("model.layers.0.mlp.secret.weight"), UnsupportedModel, "none that its family has"),
        (_with("model.layers.7.mlp.up_proj.weight"), InvalidModelFile, "a layer 7 of 3"),
        (_config(architectures=["CamelForCausalLM"]), UnsupportedModel, 'architecture "CamelFor'),
        (_config(architectures=None), UnsupportedModel, 'unsupported architecture ""'),
        (_config(num_hidden_layers="3"), InvalidModelFile, "num_hidden_layers is not"),
        (_config(hidden_size=None), InvalidModelFile, "hidden_size is missing"),
        (_config(hidden_act="relu"), UnsupportedModel, "activation 'relu'"),
        (_config(rope_scaling={"rope_type": "spiral"}), UnsupportedModel, "rope scaling 'spiral'"),
        (_config(num_attention_heads=3), InvalidModelFile, "3 heads cannot share"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    made_model: MakeModel,
    tmp_path: Path,
    change: Callable[[Made], None],
    kind: type[CamaError],
    text: str,
) -> None:
    made = made_model("llama")
    change(made)
    with pytest.raises(kind, match=text):
        convert(made, tmp_path / "m.gguf")


def test_values_that_a_type_cannot_hold_are_refused(made_model: MakeModel, tmp_path: Path) -> None:
    made = made_model("llama")
    made.weights["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save(made.folder, made.weights)
    with pytest.raises(UnsupportedModel, match="F16 cannot hold"):
        convert(made, tmp_path / "m.gguf", "F16")


def metadata_of(path: Path) -> dict[str, Any]:
    with GGUFFile.open(path) as file:
        return {key: file.get(key) for key in file.metadata if key.startswith(file.architecture)}


@pytest.mark.parametrize("name", ["llama3", "qwen2", "gemma3"])
def test_newer_configs_say_the_same(made_model: MakeModel, tmp_path: Path, name: str) -> None:
    made = made_model(name)
    convert(made, tmp_path / "old.gguf")
    config = dict(made.config)
    rope = {"rope_theta": config.pop("rope_theta"), **config.pop("rope_scaling")}
    if name == "gemma3":
        near = {"rope_type": "default", "rope_theta": config.pop("rope_local_base_freq")}
        rope = {"full_attention": rope, "sliding_attention": near}
        every = config.pop("sliding_window_pattern")
        kinds = [(i + 1) % every for i in range(config["num_hidden_layers"])]
        config["layer_types"] = ["sliding_attention" if k else "full_attention" for k in kinds]
    (made.folder / "config.json").write_text(json.dumps(config | {"rope_parameters": rope}))
    convert(made, tmp_path / "new.gguf")
    assert metadata_of(tmp_path / "new.gguf") == metadata_of(tmp_path / "old.gguf")


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_the_text_part_of_a_model_that_sees_is_converted(
    made_model: MakeModel, tmp_path: Path, prefix: str
) -> None:
    made = made_model("gemma3")
    text = {prefix + name.removeprefix("model."): value for name, value in made.weights.items()}
    save(made.folder, text | {"vision_tower.x.weight": np.ones((2, 2), np.float32)})
    given = {key: value for key, value in made.config.items() if key != "architectures"}
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": given}
    (made.folder / "config.json").write_text(json.dumps(config))
    assert convert(made, tmp_path / "m.gguf") == ["the part that sees images is left out"]
    found = logits(tmp_path / "m.gguf", LlamaEngine)
    assert np.abs(found - decode(made.weights, made.config, IDS)).max() < TOLERANCE["gemma3"]
