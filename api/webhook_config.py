"""`/api/webhook-config`: where the workspace's events go, and with which secrets they are signed."""

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from activities.outgoing import UrlRefused
from api.auth import SecretCaller
from api.deps import ApiDeps, DepsOf
from api.fields import Body, Url
from api.problems import documented
from domain.errors import FieldError, Problem
from vault import endpoints
from vault.tables import WebhookEndpoint

router = APIRouter(prefix="/api/webhook-config", tags=["events"])


class SetWebhookConfigParams(Body):
    webhook_url: Url = Field(description="https, and every address of its host public; it is checked at each delivery.")
    refreshed: bool | None = Field(
        None, description="Send `refreshed` events too, off at first; what is left out stays as it is."
    )


class SetWebhookConfigResult(BaseModel):
    webhook_url: str
    secret: str = Field(description="Shown this once. The one before signs beside it for 24 hours.")


class RotateWebhookSecretResult(BaseModel):
    secret: str = Field(description="Shown this once. The one before signs beside it for 24 hours.")


class WebhookConfigResponse(BaseModel):
    webhook_url: str
    has_secret_1: bool
    has_secret_2: bool = Field(description="Whether the secret before the newest one signs too.")
    secret_2_retires_at: datetime | None = None
    refreshed: bool
    failures: int = Field(description="Events in a row that failed. From five on, one is tried at a time.")
    paused_until: datetime | None = Field(None, description="Nothing is sent before.")
    disabled_at: datetime | None = Field(None, description="It answered 410; set the URL again to go on.")
    last_error: str | None = None
    created_at: datetime
    updated_at: datetime


@router.get(
    "",
    response_model_exclude_none=True,
    responses=documented("unauthenticated", "forbidden", "webhook_missing"),
    summary="Where events go",
)
async def get(caller: SecretCaller, deps: DepsOf) -> WebhookConfigResponse:
    async with deps.db.reading() as tx:
        endpoint = await endpoints.find(tx, caller.workspace_id)
    return _shown(_there(endpoint), deps.clock())


@router.post(
    "",
    status_code=201,
    responses=documented("bad_request", "malformed_json", "unauthenticated", "forbidden", "webhook_url_refused"),
    summary="Send events to a URL, in place of the one before",
)
async def set_url(body: SetWebhookConfigParams, caller: SecretCaller, deps: DepsOf) -> SetWebhookConfigResult:
    await _check(deps, body.webhook_url)
    endpoint, secret = await endpoints.set_url(
        deps.db, deps.sealer, caller.workspace_id, body.webhook_url, deps.clock(), refreshed=body.refreshed
    )
    return SetWebhookConfigResult(webhook_url=endpoint.url, secret=secret)


@router.post(
    "/rotate",
    responses=documented("unauthenticated", "forbidden", "webhook_missing"),
    summary="Make a new secret; for 24 hours both sign",
)
async def rotate(caller: SecretCaller, deps: DepsOf) -> RotateWebhookSecretResult:
    secret = await endpoints.rotate(deps.db, deps.sealer, caller.workspace_id, deps.clock())
    if secret is None:
        raise Problem("webhook_missing")
    return RotateWebhookSecretResult(secret=secret)


@router.delete(
    "",
    status_code=204,
    responses=documented("unauthenticated", "forbidden", "webhook_missing"),
    summary="Send no more events; those that wait are not sent either",
)
async def remove(caller: SecretCaller, deps: DepsOf) -> Response:
    if not await endpoints.remove(deps.db, caller.workspace_id):
        raise Problem("webhook_missing")
    return Response(status_code=204)


async def _check(deps: ApiDeps, url: str) -> None:
    try:
        await deps.outgoing.check(url)
    except UrlRefused as error:
        message = f"The URL {error}."
        raise Problem("webhook_url_refused", message, errors=(FieldError("body.webhook_url", message),)) from None


def _there(endpoint: WebhookEndpoint | None) -> WebhookEndpoint:
    if endpoint is None:
        raise Problem("webhook_missing")
    return endpoint


def _shown(endpoint: WebhookEndpoint, now: datetime) -> WebhookConfigResponse:
    retires_at = endpoint.secret_2_retires_at if endpoint.sealed_secret_2 else None
    second = retires_at is not None and retires_at > now
    paused = endpoint.paused_until is not None and endpoint.paused_until > now
    return WebhookConfigResponse(
        webhook_url=endpoint.url,
        has_secret_1=endpoint.sealed_secret_1 is not None,
        has_secret_2=second,
        secret_2_retires_at=retires_at if second else None,
        refreshed=endpoint.refreshed,
        failures=endpoint.failures,
        paused_until=endpoint.paused_until if paused else None,
        disabled_at=endpoint.disabled_at,
        last_error=endpoint.last_error or None,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
    )
