"""The corpus says nothing that the product contradicts, and its facts can be told apart."""

import string
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.core import TyperOption

from cama.api.app import ROUTES, Handler
from cama.api.problems import status_of
from cama.api.routes import cloud
from cama.cli.background import IDLE_EXIT_SECONDS
from cama.cli.catalog import COMMANDS
from cama.core.errors import CamaError, InvalidRequest, ModelNotFound, QueueFull, Unsupported
from cama.core.generation import Sampling
from cama.core.load import DEFAULT_CONTEXT, LoadOptions
from cama.core.settings import Settings
from guide.corpus import HELD_OUT, HELD_OUT_OFF_TOPIC, Fact, load_examination, load_facts
from tests.guide.checks import (
    CHECKS,
    Check,
    check_commands,
    check_flags,
    check_json,
    check_modelfile,
    check_options,
    check_paths,
    check_routes,
    check_slash_commands,
    check_ticks,
    check_variables,
    ticked,
)
from tests.guide.kinds import KINDS, kinds_of
from tests.guide.product import ROOT, command, shown_flags


@pytest.fixture(scope="module")
def facts() -> Mapping[str, Fact]:
    return load_facts()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_answers_agree_with_the_product(facts: Mapping[str, Fact], check: Check) -> None:
    complaints = [
        f"{fact.id}: {complaint}" for fact in facts.values() for complaint in check(fact.answer)
    ]
    assert not complaints, "\n".join(complaints)


def test_every_text_in_backticks_is_of_a_known_kind(facts: Mapping[str, Fact]) -> None:
    texts = [(fact.id, text) for fact in facts.values() for text in ticked(fact.answer)]
    unknown = [f"{name}: `{text}`" for name, text in texts if not kinds_of(text)]
    assert not unknown, "\n".join(unknown)
    assert {kind for _, text in texts for kind in kinds_of(text)} == KINDS.keys()


@pytest.mark.parametrize(
    ("check", "answer", "complaint"),
    [
        (check_ticks, "Type `cama run mine and wait.", "a backtick is left open"),
        (check_ticks, "Type cama list --x.", "'cama list' must stand in backticks"),
        (check_commands, "`cama fetch mine`", "cama fetch mine: there is no such command"),
        (check_commands, "`cama cp mine`", "cama cp mine: accepts 2 arg(s), received 1"),
        (check_commands, "`A=1 cama run x --heat 1`", "cama run x --heat 1: unknown flag: --heat"),
        (check_commands, "`cama rm $(cama ls --all)`", "cama ls --all: --all is not in the help"),
        (check_commands, "`cama serve --idle-exit`", "--idle-exit is not in the help"),
        (check_commands, "`cama --verbose`", "cama --verbose: --verbose is not in the help"),
        (check_commands, "`pkill -f 'cama run x y -z'`", "unknown shorthand flag: 'z' in -z"),
        (check_commands, "`cama run mine --keepalive 10`", "missing unit in duration"),
        (check_flags, "`cama run` takes `--license`", "no command that it names has --license"),
        (check_flags, "Add `--everywhere`.", "no command that it names has --everywhere"),
        (check_variables, "Set `CAMA_SPEED`.", "CAMA_SPEED is not a setting"),
        (check_variables, "Set `OLLAMA_SPEED`.", "OLLAMA_SPEED is not a setting"),
        (check_variables, "`CAMA_ENGINE=fast cama serve`", "must be auto, native or llama"),
        (check_variables, "`CAMA_DEBUG=2: too loud`", "does not give the error"),
        (check_routes, "See /api/models.", "there is no route /api/models"),
        (check_routes, "POST to `/api/ps`.", "/api/ps does not take POST"),
        (check_routes, "`curl http://localhost:11434/api/chat`", "/api/chat does not take GET"),
        (check_routes, "`curl http://localhost:80/`", "is not the default address"),
        (check_routes, "`curl http://h:11434/api/chat -d '{\"modle\": 1}'`", "'modle' is no field"),
        (check_slash_commands, "`/quit`", "/quit: Unknown command '/quit'"),
        (check_slash_commands, "`/set colour red`", "Unknown command '/set colour'"),
        (check_slash_commands, "`/set parameter heat 1`", "unknown parameter 'heat'"),
        (check_slash_commands, "`/show size`", "Unknown command '/show size'"),
        (check_slash_commands, "`/? colours`", "/? colours: there is no help on that"),
        (check_slash_commands, "`/save my chat`", "/save my chat: Usage"),
        (check_modelfile, "`PARAMETER heat 1`", "unknown parameter 'heat'"),
        (check_modelfile, "`PARAMETER top_k many`", "invalid int value [many]"),
        (check_modelfile, "`MESSAGE robot Hi`", "message role must be one of"),
        (check_json, '`"options": {"heat": 1}`', "'heat' is no option"),
        (check_json, '`"options": {"seed": "1"}`', 'option "seed" must be of type integer'),
        (check_json, '`"steam": false`', "'steam' is no field"),
        (check_json, '`"stream": no`', "Expecting value"),
        (check_json, '`"ten minutes"`', "invalid duration"),
        (check_paths, "See docs/guide.md.", "docs/guide.md is not in the repository"),
        (check_paths, "`python -m cama.walker`", "there is no module cama.walker"),
        (check_options, "Set `mirostat`.", "mirostat has no effect"),
    ],
)
def test_a_wrong_answer_is_found(check: Check, answer: str, complaint: str) -> None:
    found = list(check(answer))
    assert len(found) >= 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "heat", "message.heat", "cama.run", "wget x", "/quit", "/api/models", "HEAT 1", "models/",
        "docs/guide.md", "~/.cama/weights.bin", "~/x", "127.0.0.1:80", "turbo", "serves",
        "ollama.sing()",
    ],
)  # fmt: skip
def test_an_unknown_text_is_of_no_kind(text: str) -> None:
    assert kinds_of(text) == []


def _defaults() -> Iterator[tuple[str, str]]:
    """Facts, and what they must say of numbers and lists that the product decides."""
    settings, sampling, load = Settings(), Sampling(), LoadOptions()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    *names, last = sorted(COMMANDS)
    yield "cli-help", f"commands: {', '.join(names)} and {last}"
    yield "intro-requirements", f"Python {project['requires-python'].removeprefix('>=')} or newer"
    yield "in-temperature", f"default is {sampling.temperature}"
    yield "in-top-k", f"default is {sampling.top_k}"
    yield "in-top-p", f"default is {sampling.top_p}"
    yield "in-penalties", f"`repeat_last_n` tokens ({sampling.repeat_last_n})"
    yield "in-context-window", f"{DEFAULT_CONTEXT} tokens unless"
    yield "set-context", f"default is {DEFAULT_CONTEXT}"
    yield "set-batch", f"batches of {load.n_batch} tokens"
    yield "set-parallel", f"automatic, which means {load.n_parallel}"
    yield "set-host", f"`{settings.host.host}:{settings.host.port}`"
    yield "set-keep-alive", f"{settings.keep_alive / 60:g} minutes"
    yield "set-load-timeout", f"{settings.load_timeout / 60:g} minutes by default"
    yield "set-idle-exit", f"after {IDLE_EXIT_SECONDS / 60:g} minutes"
    yield "err-busy", f"({settings.max_queue} by default)"
    for error, words in (
        (InvalidRequest, "bad request"),
        (Unsupported, "bad request or unsupported field"),
        (ModelNotFound, "unknown model"),
        (QueueFull, "server busy"),
        (CamaError, "other failures"),
    ):
        yield "api-errors", f"{status_of(error(''))} {words}"
    for path in dict.fromkeys(path for path, _, handler in ROUTES if not _is_of_the_cloud(handler)):
        if path.startswith("/api/"):
            yield "api-endpoints", f"`{path.partition('/{')[0]}`"


def _is_of_the_cloud(handler: Handler) -> bool:
    """Whether it only says that there is no such service."""
    return handler.__module__ == cloud.__name__


@pytest.mark.parametrize(("name", "text"), list(_defaults()))
def test_answer_names_the_products_default(facts: Mapping[str, Fact], name: str, text: str) -> None:
    assert text in facts[name].answer


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_what_a_command_declares(name: str) -> None:
    """What a user is shown is what the parser takes, but for flags hidden on purpose."""
    options = [p for p in command(name).params if isinstance(p, TyperOption) and not p.hidden]
    declared = {flag for option in options for flag in option.opts}
    assert shown_flags(name) == declared | {"-h", "--help"}


def test_keys_tell_a_fact_from_all_others(facts: Mapping[str, Fact]) -> None:
    mistaken = [
        f"the keys of {fact.id} are all in {other.id}: {', '.join(fact.keys)}"
        for fact in facts.values()
        for other in facts.values()
        if other is not fact and fact.is_in(other.answer)
    ]
    assert not mistaken, "\n".join(mistaken)


def test_no_question_is_asked_for_two_facts(facts: Mapping[str, Fact]) -> None:
    owners: dict[str, str] = {}
    doubled = []
    for fact in facts.values():
        for question in fact.questions:
            # A dash or underscore tells a flag from a field.
            owner = owners.setdefault(_normalised(question, keep="-_/?"), fact.id)
            if owner != fact.id:
                doubled.append(f"{question!r} is asked for {owner} and {fact.id}")
    assert not doubled, "\n".join(doubled)


def test_everything_is_ascii_on_one_line(facts: Mapping[str, Fact]) -> None:
    odd = [
        f"{fact.id}: {text!r}"
        for fact in facts.values()
        for text in (fact.answer, *fact.keys, *_asked(fact))
        if not (text.isascii() and text.isprintable() and text == text.strip() != "")
    ]
    assert not odd, "\n".join(odd)


@pytest.mark.parametrize(("path", "least"), [(HELD_OUT, 120), (HELD_OUT_OFF_TOPIC, 20)])
def test_examination_is_large_and_unseen(facts: Mapping[str, Fact], path: Path, least: int) -> None:
    examination = load_examination(path)
    seen = {_normalised(question) for fact in facts.values() for question in _asked(fact)}
    asked = [_normalised(one.question) for one in examination]
    assert len(set(asked)) >= least
    assert len(set(asked)) == len(asked)
    assert {one.fact for one in examination} <= facts.keys()
    assert seen.isdisjoint(asked), "\n".join(sorted(seen.intersection(asked)))


def _asked(fact: Fact) -> Iterator[str]:
    """All questions of a fact, those that follow it too."""
    yield from fact.questions
    for ways in fact.follow.values():
        yield from ways


def _normalised(question: str, keep: str = "") -> str:
    dropped = "".join(set(string.punctuation) - set(keep))
    return " ".join(question.lower().translate(str.maketrans("", "", dropped)).split())
