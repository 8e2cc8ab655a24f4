"""`/api/api-keys`: the keys of a workspace."""

from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from api.auth import SecretCaller
from api.deps import DepsOf
from api.fields import Body, BuilderId, PathId
from api.problems import documented
from domain.errors import Problem
from vault import api_keys
from vault.api_keys import Role

router = APIRouter(prefix="/api/api-keys", tags=["api keys"])


class CreateAPIKeyParams(Body):
    name: BuilderId
    role: Role = Field(description="A publishable key can open sessions and see their outcome, nothing else.")


class CreateAPIKeyResult(BaseModel):
    id: str
    key: str = Field(description="Shown this once.")


class APIKeyResponse(BaseModel):
    id: str
    name: str
    role: Role
    created_at: datetime


@router.post(
    "",
    status_code=201,
    responses=documented("bad_request", "malformed_json", "unauthenticated", "forbidden"),
    summary="Make a key",
)
async def create(body: CreateAPIKeyParams, caller: SecretCaller, deps: DepsOf) -> CreateAPIKeyResult:
    key_id, key = await api_keys.create_key(deps.db, caller.workspace_id, body.name, body.role, deps.clock())
    return CreateAPIKeyResult(id=key_id, key=key)


@router.get("", responses=documented("unauthenticated", "forbidden"), summary="The workspace's living keys")
async def list_all(caller: SecretCaller, deps: DepsOf) -> list[APIKeyResponse]:
    return [
        APIKeyResponse.model_validate(key, from_attributes=True)
        for key in await api_keys.list_keys(deps.db, caller.workspace_id)
    ]


@router.delete(
    "/{id}",
    status_code=204,
    responses=documented("unauthenticated", "forbidden", "not_found"),
    summary="Revoke a key; it may be the one that asks",
)
async def revoke(key_id: PathId, caller: SecretCaller, deps: DepsOf, request: Request) -> Response:
    if not await api_keys.revoke_key(deps.db, caller.workspace_id, key_id, deps.clock()):
        raise Problem("not_found", "There is no living key of that id.")
    request.app.state.keys.forget()
    return Response(status_code=204)
