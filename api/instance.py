"""`/oauth/instance`: which vault is behind this address. It lies beside the callback, so it leads where that leads."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api.deps import DepsOf
from api.problems import documented
from vault.instance import instance_of

router = APIRouter(tags=["health"])


class Instance(BaseModel):
    instance: Annotated[str, Field(description="The same for every process over one vault, and for no other's.")]


@router.get(
    "/oauth/instance",
    summary="Which vault is behind this address",
    responses=documented("database_unavailable"),
)
async def instance(response: Response, deps: DepsOf) -> Instance:
    # An old answer would speak for a server that is no longer there.
    response.headers["cache-control"] = "no-store"
    return Instance(instance=await instance_of(deps.sealer.keys))
