from typing import Any

import httpx
import pytest

from cama.core.generation import Chunk, Logprob
from tests.api.conftest import Create, lines
from tests.api.fakes import FakeRunner, FakeScheduler, finish, runner_info

USER = {"role": "user", "content": "Hi"}


async def ask(api: httpx.AsyncClient, *messages: dict[str, Any], **fields: Any) -> httpx.Response:
    body = {"model": "chatty", "messages": messages, "stream": False, **fields}
    return await api.post("/api/chat", json=body)


async def prompt_for(api: httpx.AsyncClient, runner: FakeRunner, *messages: dict[str, Any]) -> str:
    response = await ask(api, *messages)
    assert response.status_code == 200
    prompt = runner.generations[-1].prompt
    assert isinstance(prompt, str)
    return prompt


async def error_of(
    api: httpx.AsyncClient, *messages: dict[str, Any], **fields: Any
) -> tuple[int, str]:
    response = await ask(api, *messages, **fields)
    return response.status_code, response.json()["error"]


async def test_chat_streams_messages(api: httpx.AsyncClient) -> None:
    first, second, last = lines(await ask(api, USER, stream=True))
    assert list(first) == ["model", "created_at", "message", "done"]
    assert first["message"] == {"role": "assistant", "content": "Hel"}
    assert second["message"]["content"] == "lo"
    assert last["message"] == {"role": "assistant", "content": ""}
    assert last["done_reason"] == "stop"


async def test_chat_without_a_stream_is_one_object(api: httpx.AsyncClient) -> None:
    answer = (await ask(api, USER)).json()
    assert answer["message"] == {"role": "assistant", "content": "Hello"}
    assert answer["eval_count"] == 2
    assert "context" not in answer


async def test_chat_renders_the_conversation(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    answer = {"role": "Assistant", "content": "A"}
    prompt = await prompt_for(api, runner, USER, answer, USER)
    assert prompt == "<s>[user]Hi[assistant]A[user]Hi[assistant]"


async def test_chat_continues_an_answer_that_was_begun(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    begun = {"role": "assistant", "content": "It is"}
    assert await prompt_for(api, runner, USER, begun) == "<s>[user]Hi[assistant]It is"


async def test_chat_puts_the_models_system_and_messages_first(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("kind", "SYSTEM Be kind.\nMESSAGE user A\nMESSAGE assistant B")
    await ask(api, USER, model="kind")
    assert runner.generations[0].prompt == (
        "<s>[system]Be kind.[user]A[assistant]B[user]Hi[assistant]"
    )


async def test_chat_keeps_the_requests_system_in_place_of_the_models(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("kind", "SYSTEM Be kind.")
    await ask(api, {"role": "system", "content": "Be brief."}, USER, model="kind")
    assert runner.generations[0].prompt == "<s>[system]Be brief.[user]Hi[assistant]"


async def test_chat_without_a_template_strings_the_texts_together(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, USER, {"role": "assistant", "content": " there"}, USER, model="base")
    assert runner.generations[0].prompt == "Hi thereHi"


async def test_chat_reports_what_the_template_refuses(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    begun = {"role": "assistant", "content": "A"}
    status, error = await error_of(api, begun, USER, model="strict")
    assert status == 400
    assert error == "the model's chat template refused: begin with the user"
    assert scheduler.n_active == 0


async def test_chat_names_the_field_of_a_wrong_type(api: httpx.AsyncClient) -> None:
    status, error = await error_of(api, {"role": "user", "content": 5})
    assert status == 400
    assert "ChatRequest.messages.content of type string" in error


async def test_chat_drops_the_oldest_messages_that_do_not_fit(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.info = runner_info(n_ctx=60)
    system = {"role": "system", "content": "S"}
    old = {"role": "user", "content": "x" * 40}
    answer = (await ask(api, system, old, old, USER)).json()
    assert runner.generations[0].prompt == "<s>[system]S[user]Hi[assistant]"
    assert answer["truncated_messages"] == 2


async def test_chat_keeps_as_many_messages_as_fit(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    turns = [{"role": "user", "content": f"{n:02}"} for n in range(20)]
    # Rendered they are BOS, 8 tokens a turn, and 11 for the answer's head.
    runner.info = runner_info(n_ctx=1 + 5 * 8 + 11)
    answer = (await ask(api, *turns)).json()
    kept = "".join(f"[user]{n:02}" for n in range(15, 20))
    assert runner.generations[0].prompt == f"<s>{kept}[assistant]"
    assert answer["truncated_messages"] == 15


async def test_chat_keeps_the_last_message_even_when_it_does_not_fit(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.info = runner_info(n_ctx=20)
    long = {"role": "user", "content": "y" * 40}
    answer = (await ask(api, USER, long)).json()
    assert runner.generations[0].prompt == f"<s>[user]{'y' * 40}[assistant]"
    assert runner.generations[0].truncate
    assert answer["truncated_messages"] == 1


async def test_chat_leaves_the_prompt_whole_when_told_not_to_truncate(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.info = runner_info(n_ctx=20)
    answer = (await ask(api, USER, USER, truncate=False)).json()
    assert runner.generations[0].prompt == "<s>[user]Hi[user]Hi[assistant]"
    assert not runner.generations[0].truncate
    assert "truncated_messages" not in answer


async def test_chat_skips_cuts_that_the_template_refuses(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    turns = [{"role": ("user", "assistant")[n % 2], "content": f"{n:02}"} for n in range(9)]
    runner.info = runner_info(n_ctx=1 + 5 * 13 + 11)
    answer = (await ask(api, *turns, model="strict")).json()
    prompt = runner.generations[0].prompt
    assert isinstance(prompt, str)
    assert prompt.startswith("<s>[user]")
    assert answer["truncated_messages"] % 2 == 0


async def test_chat_does_not_count_the_tokens_of_a_short_prompt(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, USER)
    assert runner.n_tokenized == 0


async def test_chat_without_messages_loads(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    answer = (await ask(api, stream=True)).json()
    assert answer["message"] == {"role": "assistant", "content": ""}
    assert (answer["done"], answer["done_reason"]) == (True, "load")
    assert len(scheduler.leases) == 1


async def test_chat_without_messages_and_keep_alive_time_unloads(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    answer = (await ask(api, keep_alive="0s")).json()
    assert answer["done_reason"] == "unload"
    assert len(scheduler.unloaded) == 1


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("", 400, "model is required"),
        ("a/b/c/d", 400, "invalid model name"),
        ("nobody", 404, "model 'nobody' not found"),
    ],
)
async def test_chat_words_name_errors_its_own_way(
    api: httpx.AsyncClient, name: str, status: int, text: str
) -> None:
    assert await error_of(api, USER, model=name) == (status, text)


async def test_chat_needs_a_model_that_completes(api: httpx.AsyncClient) -> None:
    assert await error_of(api, USER, model="embedder") == (
        400,
        '"embedder" does not support chat',
    )


@pytest.mark.parametrize("think", [True, "low"])
async def test_chat_refuses_to_think(api: httpx.AsyncClient, think: object) -> None:
    assert await error_of(api, USER, think=think) == (400, '"chatty" does not support thinking')


@pytest.mark.parametrize(
    ("think", "text"),
    [
        (
            "hard",
            'invalid think value: "hard" (must be "high", "medium", "low", "max", true, or false)',
        ),
        (
            1,
            'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
        ),
    ],
)
async def test_chat_refuses_a_bad_think_value(
    api: httpx.AsyncClient, think: object, text: str
) -> None:
    assert await error_of(api, USER, think=think) == (400, text)


async def test_chat_gives_logprobs(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    scored = Logprob(token=1, piece=b"Hi", logprob=-0.5)
    runner.script = [Chunk(text="Hi", n_tokens=1, logprobs=(scored,)), finish()]
    first, _ = lines(await ask(api, USER, logprobs=True, stream=True))
    assert first["logprobs"] == [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}]
    whole = (await ask(api, USER, logprobs=True)).json()
    assert whole["logprobs"] == first["logprobs"]


async def test_chat_accepts_empty_tools(api: httpx.AsyncClient) -> None:
    assert (await ask(api, USER, tools=[])).status_code == 200


async def test_chat_passes_earlier_tool_calls_to_the_template(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    call = {"function": {"name": "f", "arguments": {"x": [1]}}}
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "content": "2", "tool_name": "f"}
    runner.script = [finish()]
    await ask(api, USER, called, result, model="caller")
    assert runner.generations[0].prompt == '|f:{"x": [1]}||f=2|'


MUSING = (
    "{{ range .Messages }}{{ .Role }}: {{ if .Thinking }}<hm>{{ .Thinking }}</hm>{{ end }}"
    "{{ .Content }}\n{{ end }}assistant:"
)


async def test_chat_takes_thoughts_between_the_tags_of_a_go_template(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("muse", f'TEMPLATE """{MUSING}"""', base="base")
    runner.script = [
        Chunk(text="<hm>First </hm>", n_tokens=3),
        Chunk(text="Yes.", n_tokens=1),
        finish(),
    ]
    earlier = {"role": "assistant", "content": "Ja.", "thinking": "German?"}
    answer = (await ask(api, USER, earlier, USER, model="muse", think=True)).json()
    assert answer["message"] == {"role": "assistant", "content": "Yes.", "thinking": "First "}
    assert runner.generations[0].prompt == (
        "user: Hi\nassistant: <hm>German?</hm>Ja.\nuser: Hi\nassistant:"
    )


async def test_chat_offers_tools_to_a_go_template(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    source = "{{ range .Tools }}{{ .Function.Name }};{{ end }}{{ range .Messages }}{{ .Content }}"
    create("tooled", f"TEMPLATE {source}<tool_call>{{{{ end }}}}", base="base")
    tool = {"type": "function", "function": {"name": "now", "description": "The time"}}
    await ask(api, USER, model="tooled", tools=[tool])
    assert runner.generations[0].prompt == "now;Hi<tool_call>"
