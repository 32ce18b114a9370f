"""The interactive mode: entries in, answers out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cama.cli.repl import Repl, converse
from cama.cli.session import Session
from cama.cli.slash import Slash
from cama.client.client import Client
from cama.core.errors import ModelNotFound, ServerUnavailable
from cama.core.settings import Address, Settings
from tests.unit.client.tiny_server import TinyServer

Entered = str | type[BaseException]


@dataclass
class Script:
    """A reader that gives prepared lines, raises prepared interrupts, and then ends."""

    lines: Iterable[Entered]
    continued: list[bool] = field(default_factory=list)
    is_on: bool = True

    def __post_init__(self) -> None:
        self._rest = iter(self.lines)

    def read(self, *, is_continued: bool) -> str:
        self.continued.append(is_continued)
        line = next(self._rest, EOFError)
        if isinstance(line, str):
            return line
        raise line


Enter = Callable[..., Script]


@pytest.fixture
def session() -> Session:
    return Session(model="m")


@pytest.fixture
def enter(server: TinyServer, session: Session) -> Enter:
    """Enter lines until the end."""

    def run(*lines: Entered) -> Script:
        script = Script(lines)

        def client() -> Client:
            return Client(server.url)

        Repl(session, client, script, Slash(session, client, script)).run()
        return script

    return run


def answer(server: TinyServer, *pieces: str, **final: Any) -> None:
    events = [{"message": {"role": "assistant", "content": piece}} for piece in pieces]
    server.answer("/api/chat", *events, {"message": {"content": ""}, "done": True, **final})


def contents(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in body["messages"]]


def test_message_is_answered(
    server: TinyServer, enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(server, "Hel", "lo")
    enter("hi")
    assert capsys.readouterr().out == "Hello\n\n\n"


def test_each_turn_sends_the_whole_conversation(server: TinyServer, enter: Enter) -> None:
    answer(server, "Hello")
    enter("/set system Be brief.", "hi", "bye")
    assert contents(server.bodies("/api/chat")[1]) == [
        ("system", "Be brief."),
        ("user", "hi"),
        ("assistant", "Hello"),
        ("user", "bye"),
    ]


def test_options_of_the_session_are_sent(server: TinyServer, enter: Enter) -> None:
    answer(server, "{}")
    enter("/set parameter seed 7", "/set format json", "/set think", "hi")
    body = server.bodies("/api/chat")[0]
    assert (body["options"], body["format"], body["think"]) == ({"seed": 7}, "json", True)


def test_thinking_is_kept_with_the_answer(
    server: TinyServer, enter: Enter, session: Session
) -> None:
    server.answer("/api/chat", {"message": {"thinking": "h"}}, {"message": {"thinking": "m"}})
    enter("hi")
    assert session.messages[1] == {"role": "assistant", "content": "", "thinking": "hm"}


def test_tool_calls_are_kept_and_told(
    server: TinyServer, enter: Enter, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [{"function": {"name": "f", "arguments": {}}}]
    server.answer("/api/chat", {"message": {"content": "", "tool_calls": calls}})
    enter("hi")
    assert session.messages[1]["tool_calls"] == calls
    assert "non-existent function 'f()'" in capsys.readouterr().out


def test_block_is_one_message(server: TinyServer, enter: Enter) -> None:
    answer(server, "ok")
    script = enter('"""/bye', 'two"""')
    assert contents(server.bodies("/api/chat")[0]) == [("user", "/bye\ntwo")]
    assert script.continued == [False, True, False]


def test_empty_line_asks_nothing(server: TinyServer, enter: Enter) -> None:
    enter("")
    assert server.requests == []


def test_interrupt_at_the_prompt_says_how_to_leave(
    server: TinyServer, enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    script = enter('"""half', KeyboardInterrupt)
    assert "Use Ctrl + d or /bye to exit.\n" in capsys.readouterr().out
    assert script.continued == [False, True, False]


def test_interrupted_turn_is_forgotten(
    server: TinyServer, enter: Enter, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    answer(server, "Hello")
    monkeypatch.setattr("cama.cli.answer.AnswerWriter.content", interrupt)
    enter("hi")
    assert session.messages == []


def test_bad_request_is_told_and_the_conversation_goes_on(
    server: TinyServer, enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer("/api/chat", {"error": '"m" does not support thinking'}, status=400)
    enter("hi", "again")
    assert capsys.readouterr().out.count('error: "m" does not support thinking\n') == 2


def test_other_errors_end_the_conversation(server: TinyServer, enter: Enter) -> None:
    server.answer("/api/chat", {"error": "model 'm' not found"}, status=404)
    with pytest.raises(ModelNotFound):
        enter("hi", "again")


def test_timings_follow_the_answer_when_verbose(
    server: TinyServer, enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(server, "ok", eval_count=2)
    enter("/set verbose", "hi")
    assert capsys.readouterr().err == "eval count:           2 token(s)\n"


def settings_for(server: TinyServer, home: Path) -> Settings:
    return Settings(host=Address("127.0.0.1", server.port), home=home)


def test_converse_loads_the_model_first(server: TinyServer, home: Path, session: Session) -> None:
    server.answer("/api/generate", {"error": "out of memory"}, status=500)
    session.keep_alive = "1h"
    with pytest.raises(Exception, match="out of memory"):
        converse(settings_for(server, home), session, {})
    assert server.bodies("/api/generate") == [{"model": "m", "stream": False, "keep_alive": "1h"}]


def test_converse_without_a_server_elsewhere_says_so(home: Path, session: Session) -> None:
    settings = Settings(host=Address("localhost", 1, "https"), home=home)
    with pytest.raises(ServerUnavailable, match="run 'cama serve' to start it"):
        converse(settings, session, {})
