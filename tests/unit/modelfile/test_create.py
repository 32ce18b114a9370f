"""Creating models."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import (
    CamaError,
    InvalidModelFile,
    InvalidModelfile,
    InvalidModelName,
    InvalidTemplate,
    ModelNotFound,
    Unsupported,
    UnsupportedModel,
)
from cama.modelfile.create import create_from_recipe, create_model
from cama.modelfile.parser import parse_modelfile
from cama.modelfile.recipe import Recipe
from cama.modelfile.writer import write_modelfile
from cama.store.models import StoredModel
from cama.store.store import Store
from cama.templates.formats import FORMATS

MakeGGUF = Callable[..., Path]
Create = Callable[..., list[str]]


@pytest.fixture
def create(store: Store, folder: Path) -> Create:
    """Create a model from text; returns the statuses."""

    def create(text: str, name: str = "m") -> list[str]:
        statuses: list[str] = []
        create_model(store, name, parse_modelfile(text), folder, statuses.append)
        return statuses

    return create


def ignore(_: str) -> None:
    """A status that nobody reads."""


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def manifest_of(store: Store, name: str) -> dict[str, Any]:
    spelled, _ = store.manifest(name)
    content: dict[str, Any] = json.loads(store.manifests.read(spelled))
    return content


def kinds_of(store: Store, name: str) -> list[str]:
    return [layer["mediaType"].rpartition(".")[2] for layer in manifest_of(store, name)["layers"]]


FULL = """
FROM ./tiny.gguf
TEMPLATE {{ .Prompt }}
SYSTEM Be short.
LICENSE MIT
LICENSE more
PARAMETER stop a
PARAMETER temperature 0.5
MESSAGE user hi
MESSAGE assistant hello
RENDERER qwen3
PARSER qwen3
REQUIRES v0.14.0
"""


def test_create_from_a_file(store: Store, make_gguf: MakeGGUF, create: Create) -> None:
    path = make_gguf()
    create("FROM ./tiny.gguf")
    model = store.get("m")
    assert model.path.read_bytes() == path.read_bytes()
    assert (model.family, model.families) == ("llama", ("llama",))
    assert (model.parameter_size, model.quantization) == ("32", "Q4_K_M")
    assert (model.name, model.parent, model.is_file) == ("m:latest", "tiny.gguf", False)


def test_create_stores_all_texts(store: Store, make_gguf: MakeGGUF, create: Create) -> None:
    make_gguf()
    create(FULL)
    model = store.get("m")
    assert (model.template, model.system) == ("{{ .Prompt }}", "Be short.")
    assert model.licenses == ("MIT", "more")
    assert model.params == {"stop": ["a"], "temperature": 0.5}
    assert model.messages == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
    ]
    assert model.config["renderer"] == model.config["parser"] == "qwen3"
    assert model.config["requires"] == "0.14.0"


def test_create_orders_layers_as_ollama(store: Store, make_gguf: MakeGGUF, create: Create) -> None:
    make_gguf()
    create(FULL)
    assert kinds_of(store, "m") == [
        "model", "template", "system", "license", "license", "params", "messages",
    ]  # fmt: skip


def test_create_writes_ollamas_config(store: Store, make_gguf: MakeGGUF, create: Create) -> None:
    make_gguf()
    create("FROM tiny.gguf\nSYSTEM x")
    manifest = manifest_of(store, "m")
    config = store.blobs.path(manifest["config"]["digest"]).read_text()
    digests = [layer["digest"] for layer in manifest["layers"]]
    assert json.loads(config) == {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "32",
        "file_type": "Q4_K_M",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": digests},
    }
    assert config.endswith("\n")


def test_create_reports_its_steps(store: Store, make_gguf: MakeGGUF, create: Create) -> None:
    make_gguf()
    text = "FROM tiny.gguf\nSYSTEM x\nPARAMETER mirostat 1"
    first, second = create(text), create(text)
    digests = [layer["digest"] for layer in manifest_of(store, "m")["layers"]]
    config = manifest_of(store, "m")["config"]["digest"]
    end = ["writing manifest", "success"]
    begin = ["warning: parameter mirostat is deprecated", "parsing GGUF"]
    blobs = [*digests, config]
    assert first == [*begin, *(f"creating new layer {digest}" for digest in blobs), *end]
    assert second == [*begin, *(f"using existing layer {digest}" for digest in blobs), *end]


def test_create_from_a_model_inherits(store: Store, make_gguf: MakeGGUF, create: Create) -> None:
    make_gguf()
    create(FULL, "base")
    create("FROM BASE\nSYSTEM Be long.\nPARAMETER top_k 5\nLICENSE mine\nPARSER x")
    base, model = store.get("base"), store.get("m")
    assert (model.path, model.template, model.parent) == (base.path, base.template, "base:latest")
    assert (model.system, model.messages) == ("Be long.", base.messages)
    assert model.params == {"stop": ["a"], "temperature": 0.5, "top_k": 5}
    assert model.licenses == ("MIT", "more", "mine")
    assert (model.config["renderer"], model.config["parser"]) == ("qwen3", "x")
    assert model.quantization == "Q4_K_M"


def test_create_from_a_model_replaces_layers(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf()
    create(FULL, "base")
    create("FROM base\nTEMPLATE t\nPARAMETER stop b\nMESSAGE user new")
    assert kinds_of(store, "m") == [
        "model", "system", "license", "license", "template", "params", "messages",
    ]  # fmt: skip
    model = store.get("m")
    assert (model.template, model.params["stop"]) == ("t", ["b"])
    assert model.messages == [{"role": "user", "content": "new"}]


def test_create_keeps_layers_and_config_it_does_not_know(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf()
    create("FROM tiny.gguf", "base")
    spelled, manifest = store.manifest("base")
    config = {"capabilities": ["vision"], "future": 1} | dict(store.get("base").config)
    with store.staging() as staging:
        odd = staging.add_bytes(b"odd").layer("application/odd")
        blob = staging.add_bytes(json.dumps(config).encode()).layer(manifest.config.media_type)
        changed = type(manifest)(config=blob, layers=(*manifest.layers, odd))
        store.publish(spelled.full, changed, staging)
    create("FROM base\nSYSTEM x")
    assert manifest_of(store, "m")["layers"][1]["mediaType"] == "application/odd"
    assert store.get("m").config["capabilities"] == ["vision"]
    assert store.get("m").config["future"] == 1


def test_create_over_a_model_removes_what_it_no_longer_needs(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf()
    create("FROM tiny.gguf\nSYSTEM one")
    before = files_below(store.blobs.folder)
    create("FROM tiny.gguf\nSYSTEM two", "M")
    after = files_below(store.blobs.folder)
    assert store.get("m").system == "two"
    assert len(before) == len(after) == 3
    assert len(before & after) == 1


def test_create_over_its_own_base(store: Store, make_gguf: MakeGGUF, create: Create) -> None:
    make_gguf()
    create(FULL)
    create("FROM m\nSYSTEM new")
    assert (store.get("m").system, store.get("m").licenses) == ("new", ("MIT", "more"))


def test_create_with_adapter_and_projector(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf()
    make_gguf("lora.gguf", **{"general.type": "adapter"})
    make_gguf("eyes.gguf", **{"general.type": "mmproj", "general.architecture": "clip"})
    create("FROM eyes.gguf\nFROM tiny.gguf\nADAPTER lora.gguf")
    model = store.get("m")
    assert kinds_of(store, "m") == ["projector", "model", "adapter"]
    assert (len(model.adapters), len(model.projectors)) == (1, 1)
    assert (model.family, model.families) == ("llama", ("llama", "clip"))


@pytest.mark.parametrize("base", ["tiny.gguf", "base"])
def test_create_refuses_an_adapter_of_another_architecture(
    store: Store, make_gguf: MakeGGUF, create: Create, base: str
) -> None:
    make_gguf()
    create("FROM tiny.gguf", "base")
    make_gguf("lora.gguf", **{"general.type": "adapter", "general.architecture": "qwen2"})
    with pytest.raises(InvalidModelfile, match="an adapter for qwen2, but the model is llama"):
        create(f"FROM {base}\nADAPTER lora.gguf")


def test_create_adds_a_projector_to_a_model(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf()
    make_gguf("eyes.gguf", **{"general.type": "mmproj", "general.architecture": "clip"})
    create("FROM tiny.gguf", "base")
    create("FROM base\nFROM eyes.gguf")
    assert kinds_of(store, "m") == ["model", "projector"]
    assert store.get("m").families == ("llama", "clip")


def test_create_from_a_folder_of_gguf_files(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf("sub/tiny.gguf")
    create("FROM sub")
    assert store.get("m").family == "llama"


def test_create_from_a_searched_file(
    store: Store, folder: Path, tmp_path: Path, make_gguf: MakeGGUF
) -> None:
    path = make_gguf("found/guide.gguf")
    store = Store(store.root, search=(path.parent,))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    create_model(store, "m", parse_modelfile("FROM guide"), elsewhere, ignore)
    assert store.get("m").path.read_bytes() == path.read_bytes()


def test_create_from_a_file_in_the_home_folder(
    store: Store, make_gguf: MakeGGUF, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(make_gguf("home/x.gguf").parent))
    create("FROM ~/x.gguf")
    assert store.get("m").family == "llama"


def test_create_from_what_show_wrote(store: Store, make_gguf: MakeGGUF, create: Create) -> None:
    make_gguf()
    make_gguf("lora.gguf", **{"general.type": "adapter"})
    make_gguf("small.gguf", **{"llama.block_count": 2})
    create(
        FULL
        + 'DRAFT small.gguf\nADAPTER lora.gguf\nPARAMETER stop "\nx"\nMESSAGE user """a\n"b""""\n',
        "base",
    )
    create(write_modelfile(store.get("base")), "again")

    def contents(model: StoredModel) -> tuple[object, ...]:
        texts = (model.template, model.system, model.params, model.messages, model.licenses)
        return (model.path, model.adapters, model.draft, *texts)

    assert contents(store.get("again")) == contents(store.get("base"))


def test_create_from_a_recipe(store: Store, make_gguf: MakeGGUF) -> None:
    recipe = Recipe(
        files=(make_gguf(),),
        params={"num_ctx": 8},
        messages=({"role": "user", "content": "hi"},),
    )
    create_from_recipe(store, "m", recipe, ignore)
    assert store.get("m").params == {"num_ctx": 8}


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("FROM nothing", ModelNotFound, "model 'nothing' not found"),
        ("FROM ./nothing.gguf", ModelNotFound, "there is no file './nothing.gguf'"),
        ("FROM a b", InvalidModelName, "invalid model name: a b"),
        ("FROM ", InvalidModelfile, "not a path or a model name"),
        ("FROM bad.gguf", InvalidModelFile, "not a GGUF file"),
        (
            "FROM empty",
            InvalidModelfile,
            "no Modelfile, GGUF or safetensors files found in .*/empty",
        ),
        ("FROM torch", Unsupported, "PyTorch files cannot be converted"),
        ("FROM torch/pytorch_model.bin", Unsupported, "save them as safetensors"),
        ("FROM lora.gguf", InvalidModelfile, "only adapters and projectors"),
        ("FROM tiny.gguf\nFROM other.gguf", UnsupportedModel, "only one file of weights"),
        ("FROM tiny.gguf\nADAPTER no.gguf", ModelNotFound, "there is no file 'no.gguf'"),
        ("FROM tiny.gguf\nADAPTER other.gguf", InvalidModelfile, "no adapter but a model"),
        ("FROM tiny.gguf\nADAPTER bad.gguf", InvalidModelFile, "not a GGUF file"),
        ("FROM tiny.gguf\nADAPTER torch", Unsupported, "PyTorch files cannot be converted"),
        ("FROM tiny.gguf\nDRAFT lora.gguf", InvalidModelfile, "is no model but an adapter"),
        (
            "FROM tiny.gguf\nDRAFT ./tiny.gguf",
            InvalidModelfile,
            r"^\(line 2\): DRAFT must not reference the same local path as FROM: ./tiny.gguf",
        ),
        ("FROM tiny.gguf\nPARAMETER x 1", InvalidModelfile, r"^\(line 2\): unknown parameter 'x'"),
        ("FROM tiny.gguf\nPARAMETER top_k x", InvalidModelfile, r"2\): invalid int value \[x\]"),
        (
            'FROM tiny.gguf\nSYSTEM """a\nb"""\n# c\nPARAMETER top_k 1\nPARAMETER temperature hot',
            InvalidModelfile,
            r"^\(line 6\): invalid float value \[hot\]",
        ),
        (
            "FROM tiny.gguf\nREQUIRES new",
            InvalidModelfile,
            r"^\(line 2\): requires must be a valid",
        ),
        ("FROM leak", InvalidModelfile, "insecure path"),
    ],
)
def test_create_refuses_and_writes_nothing(
    store: Store,
    folder: Path,
    make_gguf: MakeGGUF,
    create: Create,
    text: str,
    kind: type[CamaError],
    message: str,
) -> None:
    make_gguf()
    make_gguf("other.gguf", **{"llama.block_count": 2})
    make_gguf("lora.gguf", **{"general.type": "adapter"})
    (folder / "bad.gguf").write_bytes(b"not what it says")
    for name in ("empty", "torch", "leak"):
        (folder / name).mkdir()
    (folder / "torch" / "pytorch_model.bin").touch()
    os.symlink(folder / "tiny.gguf", folder / "leak" / "x.gguf")
    with pytest.raises(kind, match=message):
        create(text)
    assert not store.root.exists()


def test_create_refuses_a_bad_name_first(store: Store, create: Create) -> None:
    with pytest.raises(InvalidModelName):
        create("FROM nothing", "a b")


def test_create_that_fails_late_leaves_the_store_as_it_was(
    store: Store, make_gguf: MakeGGUF, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_gguf()
    create("FROM tiny.gguf\nSYSTEM one")
    before = files_below(store.root)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(store.manifests), "write", fail)
    with pytest.raises(CamaError, match="No space left"):
        create("FROM tiny.gguf\nSYSTEM two")
    assert files_below(store.root) == before


@pytest.mark.parametrize("text", ["0.14.0", "v1.2.3-rc.1+b", "1", "1.2"])
def test_create_accepts_versions(
    store: Store, make_gguf: MakeGGUF, create: Create, text: str
) -> None:
    make_gguf()
    create(f"FROM tiny.gguf\nREQUIRES {text}")
    assert store.get("m").config["requires"] == text.removeprefix("v")


def test_create_from_a_real_model(store: Store, shared_data: Path, folder: Path) -> None:
    path = folder / "stories.gguf"
    shutil.copyfile(shared_data / "stories260K" / "stories260K-Q8_0.gguf", path)
    create_model(store, "stories", parse_modelfile(f"FROM {path}"), folder, ignore)
    model = store.get("stories")
    assert (model.family, model.quantization, model.parameter_size) == ("llama", "Q8_0", "260K")
    assert model.path.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ .System }}\n\n{{ if .Prompt }}", "line 3: unexpected end of the template"),
        ("{{ nope }}", "line 1: function 'nope' not defined"),
        ("{{ define `x` }}{{ end }}{{ template `x` }}", "line 1: template 'x' is given no data"),
    ],
)
def test_create_refuses_a_broken_template_with_its_line(
    store: Store, make_gguf: MakeGGUF, create: Create, template: str, complaint: str
) -> None:
    make_gguf()
    with pytest.raises(InvalidTemplate, match=re.escape(complaint)):
        create(f'FROM tiny.gguf\nTEMPLATE """{template}"""')
    assert store.list() == []


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
CHATML_STOP = ["<|im_start|>", "<|im_end|>"]


def test_create_takes_over_a_known_format(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf(**{"tokenizer.chat_template": CHATML})
    assert "using autodetected template chatml" in create("FROM tiny.gguf")
    model = store.get("m")
    assert model.template == FORMATS["chatml"].template
    assert model.params == {"stop": CHATML_STOP}


def test_create_prefers_what_the_modelfile_says_to_a_known_format(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf(**{"tokenizer.chat_template": CHATML})
    assert "using autodetected template chatml" not in create("FROM tiny.gguf\nTEMPLATE x")
    assert (store.get("m").template, store.get("m").params) == ("x", {})
    create("FROM tiny.gguf\nPARAMETER stop b")
    assert store.get("m").params == {"stop": ["b"]}


def test_create_takes_over_no_template_that_writes_other_white_space(
    store: Store, make_gguf: MakeGGUF, create: Create
) -> None:
    make_gguf(**{"tokenizer.chat_template": CHATML.replace("\n", "")})
    statuses = create("FROM tiny.gguf")
    assert "using stop strings of autodetected template chatml" in statuses
    assert (store.get("m").template, store.get("m").params) == (None, {"stop": CHATML_STOP})


@pytest.mark.parametrize(
    ("commands", "config", "stop"),
    [
        ("", ("gemma4", "gemma4"), ["<turn|>"]),
        ("PARSER gemma4-no-thinking", ("gemma4", "gemma4-no-thinking"), ["<turn|>"]),
        ("PARAMETER stop x", ("gemma4", "gemma4"), ["x"]),
        ("TEMPLATE {{ .Prompt }}", (None, None), None),
    ],
)
def test_create_names_the_renderer_of_an_architecture(
    store: Store,
    make_gguf: MakeGGUF,
    create: Create,
    commands: str,
    config: tuple[str | None, str | None],
    stop: list[str] | None,
) -> None:
    make_gguf(**{"general.architecture": "gemma4"})
    create(f"FROM tiny.gguf\n{commands}\n")
    model = store.get("m")
    assert (model.config.get("renderer"), model.config.get("parser")) == config
    assert model.params.get("stop") == stop
