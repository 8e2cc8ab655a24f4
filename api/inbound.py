"""`POST /webhooks/{provider}`: a provider says that access was withdrawn, and the lives concerned are looked at.

Nothing of it is believed: whoever could sign it can only make us ask the provider.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from api.deps import ApiDeps, DepsOf
from api.fields import is_row_id
from api.lives import woken
from api.opening import provider_of
from api.problems import FORESEEN, documented
from domain.errors import Problem
from domain.oauth.document import DocumentError
from providers.inbound import NotOfNow, Received, Said, may_be_signed, message_id, read, signers
from providers.model import Webhook
from vault import configs, inbound
from vault.crypto import SealBroken
from vault.inbound import Marked, Whose
from vault.tables import Life, ProviderConfig

router = APIRouter(tags=["webhooks"])
log = structlog.get_logger(__name__)

READ_WITHIN_SECONDS = 10
WAKE_AT_ONCE = 32
RAW_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class InboundWebhookOutputBody(BaseModel):
    """`received`: also where the message was known, or told of nothing that matters here."""

    received: bool


@router.post(
    "/webhooks/{provider}",
    response_model=InboundWebhookOutputBody,
    responses=documented(
        "provider_unknown",
        "webhook_not_offered",
        "signature_refused",
        "message_not_of_now",
        "malformed_json",
        "body_too_large",
        "body_too_slow",
    ),
    openapi_extra=RAW_BODY,
    summary="What a provider sends when access to it was withdrawn",
)
async def receive(
    provider: str,
    request: Request,
    deps: DepsOf,
    provider_config_id: Annotated[str | None, Query(description="Whose app it is about, if you have several.")] = None,
) -> JSONResponse:
    webhook = provider_of(deps, provider).webhook
    if webhook is None:
        raise Problem("webhook_not_offered")
    received = Received(request.headers, await _body(request))
    signed = await _signers(deps, webhook, provider, provider_config_id, received)
    said = _said(webhook, received, deps)
    answer = InboundWebhookOutputBody(received=True).model_dump()
    if not said.withdrawn:
        return JSONResponse(answer)
    found = [(whose, await _take(deps, webhook, whose, received)) for whose in _whose(signed, said)]
    # After the answer: the provider gets it in time, also while the engine does not answer us.
    return JSONResponse(answer, background=BackgroundTask(_look, deps, found))


async def _body(request: Request) -> bytes:
    """The raw bytes, which are what is signed. Their number is bounded by `api.limits` while they come."""
    try:
        async with asyncio.timeout(READ_WITHIN_SECONDS):
            return await request.body()
    except (TimeoutError, ClientDisconnect):
        raise Problem("body_too_slow") from None


async def _signers(
    deps: ApiDeps, webhook: Webhook, provider_id: str, config_id: str | None, received: Received
) -> Sequence[ProviderConfig]:
    """The configs whose key signed it: mostly one, several if they share an app. Raises `signature_refused`."""
    # Before any key is opened: whoever sends nothing like a signature costs one look at the headers.
    if not may_be_signed(webhook, received) or not (config_id is None or is_row_id(config_id)):
        raise Problem("signature_refused")
    candidates = await inbound.candidates(deps.db, provider_id, config_id)
    good = signers(webhook, received, await _keys(deps, candidates))
    if not good:
        raise Problem("signature_refused")
    return [config for config in candidates if config.id in good]


async def _keys(deps: ApiDeps, candidates: Sequence[ProviderConfig]) -> Mapping[str, str]:
    """One that does not open must not close the way for the others."""
    keys = {}
    for config in candidates:
        try:
            keys[config.id] = await configs.signing_key(deps.sealer, config)
        except SealBroken:
            log.error("a signing key does not open", provider_config_id=config.id)  # noqa: TRY400 - says all there is
    return keys


def _said(webhook: Webhook, received: Received, deps: ApiDeps) -> Said:
    try:
        return read(webhook, received, deps.clock())
    except DocumentError:
        raise Problem("malformed_json") from None
    except NotOfNow:
        raise Problem("message_not_of_now") from None


def _whose(signed: Sequence[ProviderConfig], said: Said) -> list[Whose]:
    if said.account_id or said.site_id:
        return [Whose(config, said.account_id, said.site_id) for config in signed]
    log.warning("a webhook tells of withdrawn access, but not whose", event_type=said.event)
    return []


async def _take(deps: ApiDeps, webhook: Webhook, whose: Whose, received: Received) -> Marked:
    marked = await inbound.take(deps.db, whose, message_id(webhook, received), deps.clock())
    return marked or Marked()


async def _look(deps: ApiDeps, found: Sequence[tuple[Whose, Marked]]) -> None:
    """Wake the lives that were marked, page after page. What is not woken here, the sweep finds."""
    for whose, marked in found:
        answers = await _wake(deps, marked.woken)
        while marked.after is not None:
            try:
                marked = await inbound.mark_more(deps.db, whose, marked.after, deps.clock())
            except FORESEEN as error:
                log.error("a webhook was not taken to its end", error=type(error).__name__)  # noqa: TRY400
                return
            answers = answers and await _wake(deps, marked.woken)


async def _wake(deps: ApiDeps, lives: Sequence[Life]) -> bool:
    """Whether the engine answers: without it nobody is told, and no time is lost with trying."""
    for at in range(0, len(lives), WAKE_AT_ONCE):
        told = await asyncio.gather(*(woken(deps.lives, life) for life in lives[at : at + WAKE_AT_ONCE]))
        if not any(told):
            return False
    return True
