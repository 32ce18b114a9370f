"""The commands of the interactive mode."""

from dataclasses import dataclass
from typing import Any

import pytest

from cama.cli import guidance
from cama.cli.session import Session
from cama.cli.slash import Slash
from cama.cli.slash_set import change
from cama.cli.slash_show import show_item
from cama.client.client import Client
from tests.unit.client.tiny_server import TinyServer


@dataclass
class Memory:
    is_on: bool = True


@pytest.fixture
def session() -> Session:
    return Session(model="m", messages=[{"role": "user", "content": "hi"}])


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def slash(server: TinyServer, session: Session, memory: Memory) -> Slash:
    return Slash(session, lambda: Client(server.url), memory)


@pytest.mark.parametrize("line", ["/bye", "/exit", "/bye now"])
def test_bye_leaves(slash: Slash, line: str) -> None:
    assert not slash(line)


@pytest.mark.parametrize("line", ["/x y", "/", "/?x", "/help"])
def test_other_commands_go_on(slash: Slash, line: str) -> None:
    assert slash(line)


def test_unknown_command_is_named(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    slash("/xyzzy now")
    assert capsys.readouterr().out == "Unknown command '/xyzzy'. Type /? for help\n"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("/?", guidance.ALL),
        ("/help set", guidance.SET),
        ("/? show", guidance.SHOW),
        ("/? shortcuts", guidance.SHORTCUTS),
        ("/set", guidance.SET),
        ("/show", guidance.SHOW),
    ],
)
def test_help_goes_to_standard_error(
    slash: Slash, capsys: pytest.CaptureFixture[str], line: str, text: str
) -> None:
    slash(line)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", text)


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("", "/save <model>   Save your current session"),
        ("set", "/set think [level], nothink     Let the model think first, or not"),
    ],
)
def test_help_says_what_this_version_does_not_do(
    slash: Slash, capsys: pytest.CaptureFixture[str], topic: str, text: str
) -> None:
    slash(f"/? {topic}")
    assert text in capsys.readouterr().err


def test_list_is_the_table_of_models(
    server: TinyServer, slash: Slash, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer("/api/tags", {"models": []})
    slash("/list")
    assert capsys.readouterr().out == "NAME    ID    SIZE    MODIFIED\n"


def test_clear_forgets_the_conversation_but_not_the_system(slash: Slash, session: Session) -> None:
    session.system = "Be brief."
    slash("/clear")
    assert (session.messages, session.system) == ([], "Be brief.")


def test_save_makes_a_model_of_the_session(
    server: TinyServer, slash: Slash, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer("/api/show", {"messages": [{"role": "user", "content": "first"}]})
    server.answer("/api/create", {"status": "writing manifest"}, {"status": "success"})
    session.system, session.options = "Be brief.", {"top_k": 3}
    slash("/save mine")
    assert capsys.readouterr().out == "Created new model 'mine'\n"
    assert server.bodies("/api/create") == [
        {
            "model": "mine",
            "from": "m",
            "system": "Be brief.",
            "parameters": {"top_k": 3},
            "messages": [
                {"role": "user", "content": "first"},
                {"role": "user", "content": "hi"},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("/save a//b", "error: The model name 'a//b' is invalid\n"),
        ("/save", "Usage:\n  /save <modelname>\n"),
    ],
)
def test_save_refuses_what_is_no_name(
    server: TinyServer, slash: Slash, capsys: pytest.CaptureFixture[str], line: str, text: str
) -> None:
    slash(line)
    assert capsys.readouterr().out == text
    assert server.requests == []


def test_load_goes_on_with_another_model(
    server: TinyServer, slash: Slash, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer("/api/show", {"capabilities": ["completion", "thinking"]})
    server.answer("/api/generate", {"done": True})
    slash("/load other")
    assert capsys.readouterr().out == "Loading model 'other'\n"
    assert (session.model, session.messages, session.think) == ("other", [], True)


def test_load_of_a_missing_model_keeps_the_old_one(
    server: TinyServer, slash: Slash, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer("/api/show", {"error": "not found"}, status=404)
    slash("/load other")
    assert capsys.readouterr().out.endswith("Couldn't find model 'other'\n")
    assert (session.model, len(session.messages)) == ("m", 1)


def test_load_wants_one_name(slash: Slash, capsys: pytest.CaptureFixture[str]) -> None:
    slash("/load")
    assert capsys.readouterr().out == "Usage:\n  /load <modelname>\n"


@pytest.mark.parametrize(("line", "is_on"), [("/set nohistory", False), ("/set history", True)])
def test_history_is_switched(slash: Slash, memory: Memory, line: str, is_on: bool) -> None:
    memory.is_on = not is_on
    slash(line)
    assert memory.is_on is is_on


@pytest.mark.parametrize(
    ("line", "answer", "attribute", "value"),
    [
        ("/set system Be brief. ", "Set system message.", "system", "Be brief. "),
        ("/set format json", "Set format to 'json' mode.", "format", "json"),
        ("/set noformat", "Disabled format.", "format", None),
        ("/set verbose", "Set 'verbose' mode.", "verbose", True),
        ("/set quiet", "Set 'quiet' mode.", "verbose", False),
        ("/set wordwrap", "Set 'wordwrap' mode.", "wordwrap", True),
        ("/set nowordwrap", "Set 'nowordwrap' mode.", "wordwrap", False),
        ("/set think", "Set 'think' mode.", "think", True),
        ("/set think high", "Set 'think' mode to 'high'.", "think", "high"),
        ("/set nothink", "Set 'nothink' mode.", "think", False),
        (
            "/set format xml",
            "Invalid or missing format. For 'json' mode use '/set format json'",
            "format",
            None,
        ),
        ("/set color red", "Unknown command '/set color'. Type /? for help", "format", None),
    ],
)
def test_set_changes_the_session(
    session: Session, line: str, answer: str, attribute: str, value: Any
) -> None:
    assert change(session, line) == answer
    assert getattr(session, attribute) == value


@pytest.mark.parametrize(
    ("line", "answer", "options"),
    [
        (
            "/set parameter temperature 0.5",
            "Set parameter 'temperature' to '0.5'",
            {"temperature": 0.5},
        ),
        ("/set parameter num_ctx 8192", "Set parameter 'num_ctx' to '8192'", {"num_ctx": 8192}),
        ("/set parameter stop a b", "Set parameter 'stop' to 'a, b'", {"stop": ["a", "b"]}),
        (
            "/set parameter num_ctx many",
            'Couldn\'t set parameter: "invalid int value [many]"',
            {},
        ),
        ("/set parameter wit 1", "Couldn't set parameter: \"unknown parameter 'wit'\"", {}),
        ("/set parameter seed", "Couldn't set parameter: \"parameter 'seed' needs a value\"", {}),
        ("/set parameter", 'Couldn\'t set parameter: "name and value are missing"', {}),
    ],
)
def test_set_parameter_is_validated(
    session: Session, line: str, answer: str, options: dict[str, Any]
) -> None:
    assert change(session, line) == answer
    assert session.options == options


def test_set_think_warns_where_it_is_in_vain(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    change(session, "/set think")
    assert capsys.readouterr().err == ('warning: model "m" does not support thinking output\n')


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("license", "No license was specified for this model."),
        ("system", "No system message was specified for this model."),
        ("template", "No prompt template was specified for this model."),
        (
            "parameters",
            "Model defined parameters:\n"
            "  No additional parameters were specified for this model.\n",
        ),
        ("color", "Unknown command '/show color'. Type /? for help"),
    ],
)
def test_show_says_what_is_missing(session: Session, item: str, text: str) -> None:
    assert show_item(session, {}, item) == text


def test_show_parameters_tells_the_users_apart(session: Session) -> None:
    session.options = {"stop": ["a", "b"]}
    assert show_item(session, {"parameters": "seed 1"}, "parameters") == (
        "Model defined parameters:\n  seed 1\n\n"
        "User defined parameters:\n  stop                           a, b\n"
    )


def test_show_system_prefers_the_sessions(session: Session) -> None:
    session.system = "mine"
    assert show_item(session, {"system": "the model's"}, "system") == "mine"


def test_show_asks_the_server(
    server: TinyServer, slash: Slash, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer("/api/show", {"template": "{{ .Prompt }}"})
    slash("/show template")
    assert capsys.readouterr().out == "{{ .Prompt }}\n"
