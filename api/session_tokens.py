"""`/oauth/session-tokens`: the builder's backend says for whom a page may open one session."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth import SecretCaller
from api.deps import DepsOf
from api.fields import Body, BuilderId, ScopeList, Url
from api.opening import provider_of
from api.problems import documented
from domain.errors import Problem
from domain.life import Kind
from domain.redirects import is_origin, origin_text
from vault import session_tokens

router = APIRouter(tags=["sessions"])


class CreateSessionTokenParams(Body):
    provider: BuilderId
    tenant_id: BuilderId
    user_id: BuilderId | None = None
    kind: Kind = Field(Kind.CONNECTION, description="`installation` for the install button.")
    installation_id: BuilderId | None = None
    provider_config_id: BuilderId | None = None
    label: BuilderId = Field("default", description="Tells several connections of one user apart.")
    scopes: ScopeList | None = None
    redirect_url: Url | None = None
    opener_origin: Url | None = Field(None, description="The origin of the page that will open the session.")


class SessionTokenResult(BaseModel):
    id: str
    token: str = Field(description="Good for one session within ten minutes, and afterwards for its outcome.")
    expires_at: datetime


@router.post(
    "/oauth/session-tokens",
    status_code=201,
    responses=documented("bad_request", "unauthenticated", "forbidden", "provider_unknown"),
    summary="Mint a token for a page",
)
async def mint(body: CreateSessionTokenParams, caller: SecretCaller, deps: DepsOf) -> SessionTokenResult:
    provider = provider_of(deps, body.provider)
    mandate = session_tokens.Mandate(
        workspace_id=caller.workspace_id,
        kind=body.kind,
        provider_id=provider.id,
        tenant_id=body.tenant_id,
        user_id=body.user_id or "",
        provider_config_id=body.provider_config_id or "",
        installation_id=body.installation_id or "",
        label=body.label,
        scopes=None if body.scopes is None else tuple(body.scopes),
        redirect_url=body.redirect_url or "",
        opener_origin=_origin(body.opener_origin),
    )
    minted = await session_tokens.mint(deps.db, mandate, deps.clock())
    return SessionTokenResult(id=minted.id, token=minted.token, expires_at=minted.expires_at)


def _origin(given: str | None) -> str:
    """As a browser will write it in its `Origin` header: that is what it is compared with."""
    if given is None:
        return ""
    origin = origin_text(given) if is_origin(given) else None
    if origin is None:
        raise Problem("bad_request", "opener_origin is not an origin such as https://app.example.com.")
    return origin
