"""``show``, ``cp``, ``rm`` and ``stop``."""

import json

import pytest

from cama.cli.description import describe
from tests.unit.cli.conftest import Cama
from tests.unit.client.test_client import unused_port
from tests.unit.client.tiny_server import Answer, TinyServer

FACTS = {
    "license": "First line\n\n  Second line\nThird line\n",
    "modelfile": "FROM x",
    "parameters": 'stop                           "<|end|>"\nnum_ctx                        4096',
    "template": "{{ .Prompt }}",
    "system": "Be brief.",
    "details": {"family": "llama", "parameter_size": "1B", "quantization_level": "Q4_K_M"},
    "model_info": {
        "general.architecture": "llama",
        "general.parameter_count": 1_235_814_432,
        "llama.context_length": 131072,
        "llama.embedding_length": 2048,
        "llama.rope.freq_base": 500000.0,
        "tokenizer.ggml.add_bos": True,
        "tokenizer.ggml.tokens": ["!", '"', "#", "$", "%", "&", "'"],
        "tokenizer.ggml.merges": None,
    },
    "tensors": [{"name": "output.weight", "type": "Q6_K", "shape": [2048, 128256]}],
    "projector_info": {
        "general.architecture": "clip",
        "general.parameter_count": 400_000_000,
        "clip.vision.embedding_length": 1024,
        "clip.vision.projection_dim": 2048,
    },
    "capabilities": ["completion", "tools"],
}

DESCRIPTION = """\
  Model
    architecture        llama
    parameters          1.2B
    context length      131072
    embedding length    2048
    quantization        Q4_K_M

  Capabilities
    completion
    tools

  Projector
    architecture        clip
    parameters          400M
    embedding length    1024
    dimensions          2048

  Parameters
    stop       "<|end|>"
    num_ctx    4096

"""

VERBOSE = """\
  Metadata
    general.architecture       llama
    general.parameter_count    1235814432
    llama.context_length       131072
    llama.embedding_length     2048
    llama.rope.freq_base       500000
    tokenizer.ggml.add_bos     true
    tokenizer.ggml.tokens      [! " # $ % ...+2 more]

  Tensors
    output.weight    Q6_K    [2048 128256]

"""

ENDS = """\
  System
    Be brief.

  License
    First line
    Second line
    ...

"""


def test_show_tells_where_a_model_is_from() -> None:
    origin = {
        "repository": "u/m-GGUF",
        "commit": "c0ffee" * 6 + "c0de",
        "files": ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"],
        "reason": "Q8_0 was asked for",
    }
    assert describe({"cama": origin}) == (
        "  Source\n"
        "    repository    u/m-GGUF\n"
        "    commit        c0ffeec0ffee\n"
        "    file          m-00001-of-00002.gguf\n"
        "    file          m-00002-of-00002.gguf\n"
        "    reason        Q8_0 was asked for\n\n"
    )


def test_describe_shows_every_section() -> None:
    assert describe(FACTS) == DESCRIPTION + ENDS


def test_describe_shows_metadata_and_tensors_when_verbose() -> None:
    assert describe(FACTS, verbose=True) == DESCRIPTION + VERBOSE + ENDS


def test_describe_takes_the_details_where_there_is_no_metadata() -> None:
    assert describe({"details": FACTS["details"]}) == (
        "  Model\n    architecture    llama\n    parameters      1B\n    quantization    Q4_K_M\n\n"
    )


def test_show_describes_the_model(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/show", FACTS)
    assert cama("show", "m").out == DESCRIPTION + ENDS
    assert server.bodies("/api/show") == [{"model": "m", "verbose": False}]


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--license", "First line\n\n  Second line\nThird line\n\n"),
        ("--modelfile", "FROM x\n"),
        ("--parameters", FACTS["parameters"] + "\n"),  # type: ignore[operator]
        ("--system", "Be brief."),
        ("--template", "{{ .Prompt }}"),
    ],
)
def test_show_selects_an_item(server: TinyServer, cama: Cama, flag: str, text: str) -> None:
    server.answer("/api/show", FACTS)
    assert cama("show", "m", flag).out == text


def test_show_selects_one_item_at_most(cama: Cama) -> None:
    assert cama("show", "m", "--system", "--license").err == (
        "Error: only one of '--license', '--modelfile', '--parameters', '--system', or "
        "'--template' can be specified\n"
    )


def test_show_of_a_missing_model_is_the_servers_text(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/show", {"error": "model 'm:latest' not found"}, status=404)
    outcome = cama("show", "m")
    assert (outcome.status, outcome.err) == (1, "Error: model 'm:latest' not found\n")


def test_cp_says_what_it_did(server: TinyServer, cama: Cama) -> None:
    server.answers["/api/copy"] = Answer([])
    assert cama("cp", "a", "b").out == "copied 'a' to 'b'\n"


def test_rm_unloads_and_deletes_each(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/generate", {"done": True})
    server.answers["/api/delete"] = Answer([])
    assert cama("rm", "a", "b").out == "deleted 'a'\ndeleted 'b'\n"
    assert [(r.path, r.body["model"]) for r in server.requests] == [
        ("/api/generate", "a"),
        ("/api/delete", "a"),
        ("/api/generate", "b"),
        ("/api/delete", "b"),
    ]
    assert server.bodies("/api/generate")[0]["keep_alive"] == 0


def test_rm_stops_at_the_first_error(server: TinyServer, cama: Cama) -> None:
    refusal = json.dumps({"error": "model 'a' not found"}).encode()
    server.answers["/api/generate"] = server.answers["/api/delete"] = Answer([refusal], 404)
    outcome = cama("rm", "a", "b")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "Error: model 'a' not found\n"


def test_rm_warns_when_a_model_cannot_be_unloaded(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/generate", {"error": "busy"}, status=500)
    server.answers["/api/delete"] = Answer([])
    outcome = cama("rm", "a")
    assert (outcome.status, outcome.out) == (0, "deleted 'a'\n")
    assert outcome.err == "Warning: unable to stop model 'a'\n"


def test_stop_is_silent(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/generate", {"done": True})
    outcome = cama("stop", "m")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert server.bodies("/api/generate") == [{"model": "m", "stream": False, "keep_alive": 0}]


def test_stop_of_an_unknown_model_names_it(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/generate", {"error": "model 'm' not found"}, status=404)
    assert cama("stop", "m").err == 'Error: couldn\'t find model "m" to stop\n'


def test_stop_without_a_server_starts_none(cama: Cama, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    monkeypatch.setenv("CAMA_HOST", url)
    assert cama("stop", "m").err == f'Error: no server runs at {url}, so that "m" is not loaded\n'
