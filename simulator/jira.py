"""Atlassian's API as at api.atlassian.com: every call checks the access token, its scope and its site."""

from typing import Any
from zlib import crc32

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from simulator.errors import RefusalError, gateway_refusal
from simulator.faults import FaultyRoute
from simulator.model import Site
from simulator.tokens import Access, Outcome, TokenRefusedError, check_access
from simulator.wire import bearer_token
from simulator.world import World, world_of

router = APIRouter(route_class=FaultyRoute, include_in_schema=False)
NOT_OF_A_SITE = {"offline_access", "read:me", "read:account"}
SUMMARIES = ("Sign-in page is slow", "Invoice shows the wrong date", "Add a dark theme", "Export fails")
MESSAGES = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}


def _access(request: Request, scope: str | None = None) -> Access:
    """The valid access of this call, or a refusal in the gateway's words."""
    world, raw = world_of(request), bearer_token(request)
    if raw is None:
        raise gateway_refusal(401, "Unauthorized")
    try:
        return check_access(world, "atlassian", raw, scope)
    except TokenRefusedError as refused:
        raise _refusal(world, refused) from None


def _refusal(world: World, refused: TokenRefusedError) -> RefusalError:
    rules = world.grant_rules(refused.grant) if refused.grant else world.rules()
    if refused.outcome is Outcome.MISSING_SCOPE:
        message = f"{MESSAGES[rules.missing_scope_status]}; scope does not match"
        return gateway_refusal(rules.missing_scope_status, message)
    status = rules.expired_status if refused.outcome is Outcome.EXPIRED else 401
    return gateway_refusal(status, MESSAGES[status])


def _site(world: World, access: Access, cloud_id: str) -> Site:
    for site in world.reachable_sites(access.grant, access.family):
        if site.id == cloud_id:
            return site
    raise gateway_refusal(404, "Not Found")


@router.get("/oauth/token/accessible-resources", name="accessible-resources")
async def accessible_resources(request: Request) -> Response:
    access = _access(request)
    scopes = [scope for scope in access.grant.scopes if scope not in NOT_OF_A_SITE]
    sites = world_of(request).reachable_sites(access.grant, access.family)
    # The order means nothing; shuffled steadily, so that nobody relies on the first.
    sites.sort(key=lambda site: crc32(f"{access.family.id}{site.id}".encode()))
    return JSONResponse([_resource(site, scopes) for site in sites])


def _resource(site: Site, scopes: list[str]) -> dict[str, Any]:
    avatar = f"{site.url}/avatar.png"
    return {"id": site.id, "name": site.name, "url": site.url, "scopes": scopes, "avatarUrl": avatar}


@router.get("/me", name="me")
async def me(request: Request) -> Response:
    access = _access(request, "read:me")
    return JSONResponse(
        {
            "account_type": "atlassian",
            "account_id": access.grant.account_id,
            "account_status": "active",
            "name": _role(request, access),
        }
    )


@router.get("/ex/jira/{cloud_id}/rest/api/3/myself", name="myself")
async def myself(request: Request, cloud_id: str) -> Response:
    access = _access(request, "read:jira-user")
    site = _site(world_of(request), access, cloud_id)
    return JSONResponse(
        {
            "self": f"{site.url}/rest/api/3/user?accountId={access.grant.account_id}",
            "accountId": access.grant.account_id,
            "accountType": "atlassian",
            "displayName": _role(request, access),
            "active": True,
            "timeZone": "Etc/UTC",
            "locale": "en_US",
        }
    )


def _role(request: Request, access: Access) -> str:
    person = world_of(request).person_of(access.grant.account_id)
    return person.role if person else "removed"


@router.api_route("/ex/jira/{cloud_id}/rest/api/3/search/jql", methods=["GET", "POST"], name="search")
async def search_jql(request: Request, cloud_id: str) -> Response:
    issues = _issues(request, cloud_id)
    return JSONResponse({"issues": issues, "isLast": True})


@router.api_route("/ex/jira/{cloud_id}/rest/api/3/search", methods=["GET", "POST"], name="search")
async def search(request: Request, cloud_id: str) -> Response:
    issues = _issues(request, cloud_id)
    return JSONResponse({"startAt": 0, "maxResults": 50, "total": len(issues), "issues": issues})


def _issues(request: Request, cloud_id: str) -> list[dict[str, Any]]:
    access = _access(request, "read:jira-work")
    site = _site(world_of(request), access, cloud_id)
    project = site.name.split()[-1][:3].upper()
    return [
        {
            "id": str(10_000 + number),
            "key": f"{project}-{number}",
            "self": f"{site.url}/rest/api/3/issue/{10_000 + number}",
            "fields": {"summary": summary, "status": {"name": "To Do"}},
        }
        for number, summary in enumerate(SUMMARIES, 1)
    ]
