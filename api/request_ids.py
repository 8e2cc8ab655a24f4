"""Every request has an id: its log lines say it, its answer does, and so do the lines of the work that it causes."""

import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from activities.causes import REQUEST_ID, WELL_FORMED, trace_names
from domain.identity import workflow_id
from vault.tables import AuthSession, Life

NAME = "x-request-id"
_MADE_BYTES = 8


class RequestIds:
    """ASGI middleware. The caller may choose the id, in `X-Request-Id`; one that is not well formed is not taken."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(NAME, "")
        request_id = given if WELL_FORMED[REQUEST_ID].fullmatch(given) else secrets.token_hex(_MADE_BYTES)
        scope[REQUEST_ID] = request_id
        clear_contextvars()
        bind_contextvars(request_id=request_id, **trace_names())

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (NAME.encode(), request_id.encode())]
            await send(message)

        await self._app(scope, receive, naming)


def about(row: Life | AuthSession) -> None:
    """From here on every log line of this request says which life it is about."""
    about_life(row.workspace_id, row.kind, row.provider_id, row.life_id if isinstance(row, AuthSession) else row.id)


def about_life(workspace_id: str, kind: str, provider_id: str, life_id: str) -> None:
    """The same, of what is known of a life without its row."""
    owner = workflow_id(workspace_id, kind, provider_id, life_id)
    bind_contextvars(workflow_id=owner, provider=provider_id, life_id=life_id)
