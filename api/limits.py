"""A bound on what a request may send, before anything reads it."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 64 * 1024
MAX_WEBHOOK = 256 * 1024
WEBHOOKS = "/webhooks/"


class BodyLimit:
    """Refuses a body of more than 64 KiB (a provider's webhook: 256), whether its length is declared or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = MAX_WEBHOOK if scope.get("path", "").startswith(WEBHOOKS) else MAX_BODY

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413)
            return message

        await self._app(scope, bounded if scope["type"] == "http" else receive, send)
