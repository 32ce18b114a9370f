"""The application: every route in one table."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cama.api.access import Access
from cama.api.body import Pace
from cama.api.cors import CORS, Origins
from cama.api.gate import Gate, keys_of
from cama.api.hosts import HostCheck, is_loopback
from cama.api.problems import HANDLERS
from cama.api.routes.anthropic import count_tokens, messages
from cama.api.routes.blobs import head_blob, post_blob
from cama.api.routes.chat import chat
from cama.api.routes.cloud import me, recommendations, sign_out, web_fetch, web_search
from cama.api.routes.create import create
from cama.api.routes.docs import docs, openapi
from cama.api.routes.embed import embed, embeddings, rerank
from cama.api.routes.generate import generate
from cama.api.routes.models import copy, delete, ps, show, tags
from cama.api.routes.openai.audio import transcriptions
from cama.api.routes.openai.chat import chat_completions
from cama.api.routes.openai.completions import completions
from cama.api.routes.openai.embeddings import embeddings as openai_embeddings
from cama.api.routes.openai.embeddings import rerank as openai_rerank
from cama.api.routes.openai.models import model, models
from cama.api.routes.openai.responses import create as create_response
from cama.api.routes.openai.responses import delete as delete_response
from cama.api.routes.openai.responses import get as get_response
from cama.api.routes.plan import plan
from cama.api.routes.system import root, status, version
from cama.api.routes.tokens import detokenize, tokenize
from cama.api.routes.transfers import pull, push
from cama.api.services import Scheduler, Services
from cama.core.settings import Settings
from cama.store.store import Store

Handler = Callable[[Request], Awaitable[Response]]

_READ = ("GET", "HEAD")

ROUTES: Sequence[tuple[str, Sequence[str], Handler]] = (
    ("/", _READ, root),
    ("/api/version", _READ, version),
    ("/api/status", ("GET",), status),
    ("/api/generate", ("POST",), generate),
    ("/api/chat", ("POST",), chat),
    ("/api/embed", ("POST",), embed),
    ("/api/embeddings", ("POST",), embeddings),
    ("/api/rerank", ("POST",), rerank),
    ("/api/tokenize", ("POST",), tokenize),
    ("/api/detokenize", ("POST",), detokenize),
    ("/api/plan", ("POST",), plan),
    ("/api/tags", _READ, tags),
    ("/api/ps", ("GET",), ps),
    ("/api/show", ("POST",), show),
    ("/api/copy", ("POST",), copy),
    ("/api/delete", ("DELETE",), delete),
    ("/api/create", ("POST",), create),
    ("/api/pull", ("POST",), pull),
    ("/api/push", ("POST",), push),
    ("/api/blobs/{digest}", ("HEAD",), head_blob),
    ("/api/blobs/{digest}", ("POST",), post_blob),
    ("/v1/chat/completions", ("POST",), chat_completions),
    ("/v1/completions", ("POST",), completions),
    ("/v1/embeddings", ("POST",), openai_embeddings),
    ("/v1/rerank", ("POST",), openai_rerank),
    ("/v1/responses", ("POST",), create_response),
    ("/v1/responses/{id}", ("GET",), get_response),
    ("/v1/responses/{id}", ("DELETE",), delete_response),
    ("/v1/models", _READ, models),
    ("/v1/models/{model:path}", _READ, model),
    ("/v1/audio/transcriptions", ("POST",), transcriptions),
    ("/v1/messages", ("POST",), messages),
    ("/v1/messages/count_tokens", ("POST",), count_tokens),
    ("/api/me", ("POST",), me),
    ("/api/signout", ("POST",), sign_out),
    ("/api/user/keys/{key}", ("DELETE",), sign_out),
    ("/api/experimental/web_search", ("POST",), web_search),
    ("/api/experimental/web_fetch", ("POST",), web_fetch),
    ("/api/experimental/model-recommendations", ("GET",), recommendations),
    ("/openapi.json", _READ, openapi),
    ("/docs", _READ, docs),
)


def create_app(settings: Settings, store: Store, scheduler: Scheduler) -> Starlette:
    """The API over a store and a scheduler, which it closes when it ends.

    Raises InvalidSetting on bad origins and keys.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await scheduler.close()

    app = Starlette(
        routes=[_route(*row) for row in ROUTES],
        middleware=_middleware(settings),
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.services = Services(settings, store, scheduler)
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    """What every request passes, the outermost first."""
    origins, keys = Origins(settings.origins), keys_of(settings)
    is_open = not is_loopback(settings.host.host)
    # A page that plays a trick with names has no key.
    hosts = [] if is_open and keys else [Middleware(HostCheck, origins=origins, is_open=is_open)]
    return [
        Middleware(Access),
        Middleware(CORS, origins=origins),
        *hosts,
        Middleware(Gate, keys=keys),
        Middleware(Pace),
    ]


def _route(path: str, methods: Sequence[str], handler: Handler) -> Route:
    route = Route(path, handler, methods=list(methods))
    route.methods = set(methods)  # Starlette adds HEAD wherever there is GET
    return route
