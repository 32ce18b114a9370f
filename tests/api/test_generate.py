import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.core.errors import LoadFailed, QueueFull
from cama.core.generation import Chunk, Logprob
from cama.store.store import Store
from tests.api.conftest import Create, lines, write
from tests.api.fakes import BOS_ID, FakeRunner, FakeScheduler, finish, runner_info


async def ask(api: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    body = {"model": "chatty", "prompt": "Hi", "stream": False, **fields}
    return await api.post("/api/generate", json=body)


async def error_of(api: httpx.AsyncClient, **fields: Any) -> tuple[int, str]:
    response = await ask(api, **fields)
    assert response.json().keys() == {"error"}
    return response.status_code, response.json()["error"]


async def test_generate_streams_a_line_per_piece(api: httpx.AsyncClient) -> None:
    response = await ask(api, stream=True)
    first, second, last = lines(response)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert list(first) == ["model", "created_at", "response", "done"]
    assert (first["response"], second["response"]) == ("Hel", "lo")
    assert last["response"] == ""
    assert [line["done"] for line in (first, second, last)] == [False, False, True]


async def test_generate_streams_by_default(api: httpx.AsyncClient) -> None:
    for extra in ({}, {"stream": None}):
        body = {"model": "chatty", "prompt": "Hi", **extra}
        assert len(lines(await api.post("/api/generate", json=body))) == 3


async def test_generate_without_a_stream_is_one_object(api: httpx.AsyncClient) -> None:
    response = await ask(api)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json()["response"] == "Hello"


async def test_generate_gives_its_accounts_in_order(api: httpx.AsyncClient) -> None:
    answer = (await ask(api)).json()
    assert list(answer) == [
        "model", "created_at", "response", "done", "done_reason", "context", "total_duration",
        "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count",
        "eval_duration",
    ]  # fmt: skip
    assert answer["prompt_eval_duration"] == 250_000_000
    assert answer["total_duration"] >= answer["load_duration"] > 0


async def test_generate_says_what_was_cached_and_left_out(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [finish("length", cached_tokens=3, truncated_tokens=4, shifted_tokens=5)]
    answer = (await ask(api)).json()
    assert answer["done_reason"] == "length"
    assert answer["prompt_cached_count"] == 3
    assert answer["truncated_tokens"] == 4
    assert answer["shifted_tokens"] == 5


async def test_generate_echoes_the_name_as_it_was_sent(api: httpx.AsyncClient) -> None:
    assert (await ask(api, model="CHATTY:latest")).json()["model"] == "CHATTY:latest"


async def test_generate_renders_the_chat_template(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, system="Be kind.")
    assert runner.generations[0].prompt == "<s>[system]Be kind.[user]Hi[assistant]"
    assert not runner.generations[0].add_special


async def test_generate_lets_the_runner_add_a_bos_that_the_prompt_lacks(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, model="base")
    assert runner.generations[0].prompt == "Hi"
    assert runner.generations[0].add_special


async def test_generate_puts_the_models_system_and_messages_first(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("kind", "SYSTEM Be kind.\nMESSAGE user A\nMESSAGE assistant B")
    await ask(api, model="kind")
    assert (
        runner.generations[0].prompt == "<s>[system]Be kind.[user]A[assistant]B[user]Hi[assistant]"
    )


async def test_generate_prefers_the_requests_system(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("kind", "SYSTEM Be kind.")
    await ask(api, model="kind", system="Be brief.")
    assert runner.generations[0].prompt == "<s>[system]Be brief.[user]Hi[assistant]"


async def test_generate_raw_sends_the_prompt_untouched(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    answer = (await ask(api, raw=True, prompt="[user]")).json()
    assert runner.generations[0].prompt == "[user]"
    assert "context" not in answer


@pytest.mark.parametrize("extra", [{"system": "s"}, {"template": "t"}, {"context": [5]}])
async def test_generate_raw_refuses_what_it_would_ignore(
    api: httpx.AsyncClient, extra: dict[str, Any]
) -> None:
    status, error = await error_of(api, raw=True, **extra)
    assert status == 400
    assert error == "raw mode does not support template, system, or context"


async def test_generate_returns_the_ids_of_prompt_and_answer(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    context = (await ask(api)).json()["context"]
    assert context == await runner.tokenize("<s>[user]Hi[assistant]Hello")


async def test_generate_goes_on_from_a_context(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    answer = (await ask(api, context=[BOS_ID, 50, 51])).json()
    new = await runner.tokenize("[user]Hi[assistant]")
    assert runner.generations[0].prompt == (BOS_ID, 50, 51, *new)
    assert not runner.generations[0].add_special
    assert answer["context"][: 3 + len(new)] == [BOS_ID, 50, 51, *new]


async def test_generate_adds_a_bos_to_a_context_without_one(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    answer = (await ask(api, model="base", context=[50])).json()
    assert runner.generations[0].prompt == (BOS_ID, 50, *await runner.tokenize("Hi"))
    assert answer["context"][0] == 50


async def test_generate_leaves_stored_messages_out_of_a_continuation(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("kind", "MESSAGE user A\nMESSAGE assistant B")
    await ask(api, model="kind", context=[BOS_ID])
    new = await runner.tokenize("[user]Hi[assistant]")
    assert runner.generations[0].prompt == (BOS_ID, *new)


@pytest.mark.parametrize("token", [-1, 300])
async def test_generate_refuses_ids_of_no_token(api: httpx.AsyncClient, token: int) -> None:
    status, error = await error_of(api, context=[token])
    assert (status, "token id" in error) == (400, True)


async def test_generate_merges_options_over_the_models(
    api: httpx.AsyncClient, runner: FakeRunner, scheduler: FakeScheduler, create: Create
) -> None:
    create("tuned", "PARAMETER temperature 0.1\nPARAMETER top_k 7\nPARAMETER num_ctx 512")
    await ask(api, model="tuned", options={"top_k": 9, "temperature": None, "nonsense": 1})
    sampling = runner.generations[0].sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.1, 9, 0.9)
    assert scheduler.leases[0][0].load.n_ctx == 512


async def test_generate_never_runs_without_end(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    for asked in (-1, 0, 10**9):
        await ask(api, options={"num_predict": asked})
    assert [made.num_predict for made in runner.generations] == [40960] * 3


async def test_generate_passes_truncate_and_shift_on(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, truncate=False, shift=False)
    assert not runner.generations[0].truncate
    assert not runner.generations[0].shift


async def test_generate_with_a_wrong_option_type_is_a_500(api: httpx.AsyncClient) -> None:
    assert await error_of(api, options={"num_ctx": "big"}) == (
        500,
        'option "num_ctx" must be of type integer',
    )


async def test_generate_with_an_empty_prompt_loads(
    api: httpx.AsyncClient, scheduler: FakeScheduler, runner: FakeRunner
) -> None:
    answer = (await ask(api, prompt="", keep_alive="-1m", stream=True)).json()
    assert list(answer) == ["model", "created_at", "response", "done", "done_reason"]
    assert (answer["done"], answer["done_reason"]) == (True, "load")
    assert scheduler.leases[0][1] == math.inf
    assert runner.generations == []


async def test_generate_with_an_empty_prompt_and_no_keep_alive_time_unloads(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    answer = (await ask(api, prompt="", keep_alive=0)).json()
    assert answer["done_reason"] == "unload"
    assert len(scheduler.unloaded) == 1
    assert scheduler.leases == []


async def test_generate_hands_the_keep_alive_to_the_lease(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    for value in (None, 1.5, "2h45m"):
        await ask(api, keep_alive=value)
    assert [seconds for _, seconds in scheduler.leases] == [None, 1.5, 9900.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("300", 'time: missing unit in duration "300"'),
        ("soon", 'time: invalid duration "soon"'),
        (True, "Unsupported type: 'bool'"),
    ],
)
async def test_generate_refuses_a_bad_keep_alive(
    api: httpx.AsyncClient, value: object, text: str
) -> None:
    assert await error_of(api, keep_alive=value) == (400, text)


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("", 404, "model '' not found"),
        ("a/b/c/d", 400, "invalid model name"),
        ("nobody:7b", 404, "model 'nobody:7b' not found"),
        ("nobody:7b-cloud", 403, "ollama cloud is disabled: remote model is unavailable"),
        ("a:local:cloud", 400, 'use either :local or :cloud, not both: "a:local:cloud"'),
    ],
)
async def test_generate_words_name_errors_its_own_way(
    api: httpx.AsyncClient, name: str, status: int, text: str
) -> None:
    assert await error_of(api, model=name) == (status, text)


async def test_generate_accepts_a_name_that_is_marked_local(api: httpx.AsyncClient) -> None:
    assert (await ask(api, model="chatty:local")).status_code == 200


async def test_generate_needs_a_model_that_completes(api: httpx.AsyncClient) -> None:
    assert await error_of(api, model="embedder") == (400, '"embedder" does not support generate')


@pytest.mark.parametrize("think", [True, "high"])
async def test_generate_refuses_to_think(api: httpx.AsyncClient, think: object) -> None:
    assert await error_of(api, think=think) == (400, '"chatty" does not support thinking')


async def test_generate_tells_the_template_not_to_think(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, think=False)
    assert runner.generations[0].prompt == "<s>[user]Hi[thinking=False][assistant]"


async def test_generate_accepts_the_absence_of_what_it_lacks(api: httpx.AsyncClient) -> None:
    response = await ask(api, format="", images=[], suffix="", template="", logprobs=False)
    assert response.status_code == 200


async def test_generate_refuses_a_number_of_logprobs_out_of_range(api: httpx.AsyncClient) -> None:
    assert await error_of(api, top_logprobs=21) == (400, "top_logprobs must be between 0 and 20")


def scored(text: str, logprob: float, *top: Logprob) -> Logprob:
    return Logprob(token=1, piece=text.encode("latin-1"), logprob=logprob, top=top)


CAFE = [
    Chunk(text="caf", n_tokens=1, logprobs=(scored("caf", -0.5, scored("tea", -0.25)),)),
    Chunk(text="é", n_tokens=2, logprobs=(scored("\xc3", -1.0), scored("\xa9", 0.0))),
    Chunk(text="", n_tokens=1, logprobs=(scored("", -2.0),)),
]
CAFE_LOGPROBS = [
    {
        "token": "caf",
        "logprob": -0.5,
        "bytes": [99, 97, 102],
        "top_logprobs": [{"token": "tea", "logprob": -0.25, "bytes": [116, 101, 97]}],
    },
    {"token": "\ufffd", "logprob": -1.0, "bytes": [195]},
    {"token": "\ufffd", "logprob": 0.0, "bytes": [169]},
    {"token": "", "logprob": -2.0, "bytes": []},
]


async def test_generate_streams_logprobs_with_their_text(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [*CAFE, finish()]
    response = await ask(api, logprobs=True, top_logprobs=1, stream=True)
    *chunks, last = lines(response)
    assert [chunk["logprobs"] for chunk in chunks] == [
        CAFE_LOGPROBS[:1],
        CAFE_LOGPROBS[1:3],
        CAFE_LOGPROBS[3:],
    ]
    assert "logprobs" not in last
    assert runner.generations[0].logprobs == 1


async def test_generate_joins_logprobs_of_a_whole_answer(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [*CAFE, finish()]
    body = (await ask(api, logprobs=True)).json()
    assert (body["response"], body["logprobs"]) == ("café", CAFE_LOGPROBS)
    assert runner.generations[0].logprobs == 0


async def test_generate_gives_no_logprobs_that_were_not_asked_for(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    assert all(
        "logprobs" not in line for line in lines(await ask(api, top_logprobs=3, stream=True))
    )
    assert runner.generations[0].logprobs == -1


async def test_generate_shows_the_rendered_prompt(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    answer = (await ask(api, _debug_render_only=True, stream=True)).json()
    assert answer["_debug_info"] == {"rendered_template": "<s>[user]Hi[assistant]"}
    assert runner.generations == []


async def test_generate_with_a_full_queue_is_a_503(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    scheduler.error = QueueFull("server busy, please try again.")
    response = await ask(api)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


async def test_generate_reports_a_failed_load(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    scheduler.error = LoadFailed("out of memory")
    assert await error_of(api, stream=True) == (500, "out of memory")


async def test_generate_with_a_plain_go_template_sends_the_prompt_alone(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("plain", "TEMPLATE {{ .Prompt }}")
    await ask(api, model="plain", system="ignored")
    assert runner.generations[0].prompt == "Hi"


@pytest.mark.parametrize("base", ["base", "chatty"])
async def test_generate_uses_the_template_of_the_modelfile(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create, base: str
) -> None:
    create("gone", "TEMPLATE <{{ .System }}|{{ .Prompt }}>", base=base)
    await ask(api, model="gone", system="Be kind.")
    assert runner.generations[0].prompt == "<Be kind.|Hi>"


TOOLED = "{% if tools %}<tool_call>{% endif %}{{ messages[-1].content }}!"


async def test_generate_uses_the_files_template_where_it_can_do_more(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create, store: Store, tmp_path: Path
) -> None:
    write(store, tmp_path, "tooled", {"tokenizer.chat_template": TOOLED})
    create("gone", "TEMPLATE <{{ .Prompt }}>", base="tooled")
    create("here", "TEMPLATE {{ if .Tools }}T{{ end }}<{{ .Prompt }}>", base="tooled")
    await ask(api, model="gone")
    await ask(api, model="here")
    assert [generation.prompt for generation in runner.generations] == ["Hi!", "<Hi>"]


async def test_generate_uses_the_template_of_the_request(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, template="{{ .System }}>{{ .Prompt }}>", system="Be kind.")
    assert runner.generations[0].prompt == "Be kind.>Hi>"


async def test_generate_refuses_a_broken_template_with_its_line(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    assert await error_of(api, template="{{ .System }}\n{{ if }}") == (
        400,
        "template error: line 2: missing value for if",
    )
    assert scheduler.leases == []


async def test_generate_reports_what_fails_in_a_template(api: httpx.AsyncClient) -> None:
    status, error = await error_of(api, template="\n{{ .System.Name }}")
    assert status == 400
    assert error.startswith("the model's chat template failed at line 2: can't evaluate field Name")


FILLING = "<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>"


async def test_generate_inserts(api: httpx.AsyncClient, runner: FakeRunner, create: Create) -> None:
    create("filler", f"TEMPLATE {FILLING}\nSYSTEM Be kind.", base="base")
    await ask(api, model="filler", prompt="a = ", suffix="\nprint(a)")
    await ask(api, template=FILLING, prompt="b = ", suffix=";")
    prompts = [generation.prompt for generation in runner.generations]
    assert prompts == ["<PRE>a = <SUF>\nprint(a)<MID>", "<PRE>b = <SUF>;<MID>"]


async def test_generate_refuses_a_suffix_that_has_no_place(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    assert await error_of(api, suffix="end") == (
        400,
        "registry.ollama.ai/library/chatty:latest does not support insert",
    )
    assert await error_of(api, suffix="end", raw=True) == (
        400,
        "suffix goes with neither raw mode nor context",
    )
    assert scheduler.leases == []


async def test_generate_skips_pieces_without_text(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [Chunk(text="", n_tokens=1), Chunk(text="x", n_tokens=1), finish()]
    answer = lines(await ask(api, stream=True))
    assert [line["response"] for line in answer] == ["x", ""]


async def test_generate_without_a_bos_submits_the_prompt_for_the_model_to_complete(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.info = runner_info(bos_text="")
    await ask(api)
    assert runner.generations[0].prompt == "[user]Hi[assistant]"
    assert runner.generations[0].add_special


async def test_generate_uses_the_files_template_where_another_was_made_from_it(
    api: httpx.AsyncClient, runner: FakeRunner, store: Store, tmp_path: Path
) -> None:
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    write(
        store,
        tmp_path,
        "chatml",
        {"tokenizer.chat_template": f"<s>{source}\n<|im_start|>assistant\n\n"},
    )
    assert store.get("chatml").template is not None
    await ask(api, model="chatml")
    assert str(runner.generations[0].prompt).startswith("<s><|im_start|>user\nHi")


async def test_generate_warns_once_of_a_model_without_a_template(
    api: httpx.AsyncClient, create: Create, caplog: pytest.LogCaptureFixture
) -> None:
    create("untold", "SYSTEM Be kind.", base="base")
    await ask(api, model="untold")
    await ask(api, model="untold")
    warnings = [one.getMessage() for one in caplog.records if "untold" in one.getMessage()]
    assert len(warnings) == 1
    assert "system messages are left out" in warnings[0]
