"""The admin endpoint: the hand of a test or a demo on the simulated providers. JSON in and out."""

import secrets
import uuid
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException
from pydantic import ValidationError

from simulator.bodies import (
    AppBody,
    ClockBody,
    FaultBody,
    GrantBody,
    PersonBody,
    ReasonBody,
    SecretBody,
    SiteBody,
    WebhookBody,
)
from simulator.faults import ENDPOINTS, SavingRoute
from simulator.model import App, Fault, Grant, Person, fingerprint, new_person, new_site
from simulator.reports import grant_report, grant_summary, token_report
from simulator.tokens import end_family, revoke_grant
from simulator.webhooks import Receiver
from simulator.world import World, world_of

router = APIRouter(prefix="/_admin", route_class=SavingRoute)
TheWorld = Annotated[World, Depends(world_of)]
Json = dict[str, Any]


Found = TypeVar("Found")


def _found(item: Found | None, what: str) -> Found:
    if item is None:
        raise HTTPException(404, f"No such {what}.")
    return item


def _checked(world: World, patch: Json) -> Json:
    """The patch in the form in which it is stored, if the rules it leads to are valid."""
    try:
        changed = world.rules().changed(patch)
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False, include_context=False)) from None
    return {name: value for name, value in changed.model_dump(mode="json").items() if name in patch}


@router.get("/settings")
async def get_settings(world: TheWorld) -> Json:
    """The rules in force where neither an app nor a grant says otherwise."""
    return world.rules().model_dump(mode="json")


@router.patch("/settings")
async def change_settings(world: TheWorld, patch: Json) -> Json:
    """Change some rules for all apps: token_lifetime, replay_window, second_consent, ..."""
    world.state.rules.update(_checked(world, patch))
    return world.rules().model_dump(mode="json")


@router.get("/apps")
async def list_apps(world: TheWorld) -> list[Json]:
    """The registered apps, without secrets."""
    return [_app_json(app) for app in world.state.apps.values()]


def _app_json(app: App) -> Json:
    public = app.secret_sha256 is None
    return {"client_id": app.client_id, "public": public, "redirect_uris": app.redirect_uris, **app.rules}


@router.post("/apps")
async def register_app(world: TheWorld, body: AppBody) -> Json:
    """Register an app with rules of its own, or replace one; grants are kept. Tells the secret, once."""
    rules = _checked(world, body.model_extra or {})
    secret = None if body.public else body.client_secret or secrets.token_urlsafe(32)
    app = App(body.client_id, fingerprint(secret) if secret else None, body.redirect_uris, rules)
    world.state.apps[app.client_id] = app
    return {**_app_json(app), "client_secret": secret}


@router.delete("/apps/{client_id}", status_code=204)
async def remove_app(world: TheWorld, client_id: str) -> None:
    """Remove an app; its grants end."""
    _found(world.state.apps.pop(client_id, None), "app")
    for grant in world.state.grants.values():
        if grant.client_id == client_id:
            _withdraw(world, grant, "app_removed")


@router.post("/apps/{client_id}/rotate-secret")
async def rotate_secret(world: TheWorld, client_id: str, body: SecretBody | None = None) -> Json:
    """Give an app a new client secret; the old one is refused from now on."""
    app = _found(world.state.apps.get(client_id), "app")
    secret = (body and body.client_secret) or secrets.token_urlsafe(32)
    app.secret_sha256 = fingerprint(secret)
    return {"client_id": client_id, "client_secret": secret}


@router.get("/accounts")
async def list_accounts(world: TheWorld) -> list[Json]:
    """The people who can sign in, and the sites they reach."""
    return [_account_json(world, person) for person in world.state.people.values()]


def _account_json(world: World, person: Person) -> Json:
    sites = [asdict(site) for site in world.state.sites.values() if site.id in person.sites]
    return {"person": person.role, "account_id": person.account_id, "sites": sites}


@router.put("/accounts/{person}")
async def put_account(world: TheWorld, person: str, body: PersonBody) -> Json:
    """Add a person, or say anew which sites one reaches (a site left out is lost to their grants)."""
    sites = [_found(world.site_named(name), "site") for name in body.sites]
    account = world.state.people.setdefault(person, new_person(person, []))
    account.sites = [site.id for site in sites]
    return _account_json(world, account)


@router.delete("/accounts/{person}", status_code=204)
async def remove_account(world: TheWorld, person: str) -> None:
    """Remove a person; their grants end."""
    account = _found(world.state.people.pop(person, None), "person")
    for grant in _grants_of(world, account):
        _withdraw(world, grant, "account_removed")


@router.post("/accounts/{person}/change-password")
async def change_password(world: TheWorld, person: str) -> Json:
    """End a person's refresh tokens; access tokens live out their time."""
    grants = _grants_of(world, _found(world.state.people.get(person), "person"))
    for grant in grants:
        for family in grant.families.values():
            end_family(family, "password_changed")
    return {"grants": [grant.id for grant in grants]}


def _grants_of(world: World, person: Person) -> list[Grant]:
    return [grant for grant in world.state.grants.values() if grant.account_id == person.account_id]


@router.post("/sites")
async def add_site(world: TheWorld, body: SiteBody) -> Json:
    """Add a site that nobody reaches yet; its cloud id follows from its name."""
    site = new_site(body.name)
    world.state.sites[site.id] = site
    return asdict(site)


@router.delete("/sites/{site}", status_code=204)
async def remove_site(world: TheWorld, site: str) -> None:
    """Remove a site, by id or name; nobody reaches it any more."""
    gone = _found(world.site_named(site), "site")
    del world.state.sites[gone.id]
    for person in world.state.people.values():
        person.sites = [kept for kept in person.sites if kept != gone.id]


@router.get("/faults")
async def list_faults(world: TheWorld) -> list[Fault]:
    """The faults still to come."""
    return world.state.faults


@router.post("/faults")
async def queue_fault(world: TheWorld, body: FaultBody) -> Fault:
    """Queue a fault for an endpoint: status, html, delay, drop_before, drop_after, truncated, missing_..."""
    fault = Fault(id=uuid.uuid4().hex, **body.model_dump())
    world.state.faults.append(fault)
    return fault


@router.delete("/faults", status_code=204)
async def clear_faults(world: TheWorld, endpoint: str | None = None) -> None:
    """Clear all faults, or those of `?endpoint=`."""
    world.state.faults[:] = [f for f in world.state.faults if endpoint and f.endpoint != endpoint]


@router.get("/grants")
async def list_grants(
    world: TheWorld, client_id: str | None = None, person: str | None = None, account_id: str | None = None
) -> list[Json]:
    """Grants with their counters, without tokens; filter by `?client_id=`, `?person=`, `?account_id=`."""
    wanted = {"client_id": client_id, "person": person, "account_id": account_id}
    summaries = [grant_summary(world, grant) for grant in world.state.grants.values()]
    return [s for s in summaries if all(s[name] == value for name, value in wanted.items() if value)]


@router.get("/grants/{grant_id}")
async def get_grant(world: TheWorld, grant_id: str) -> Json:
    """One grant with every code and token it gave, by SHA-256, and what came of presenting each."""
    return grant_report(world, _found(world.state.grants.get(grant_id), "grant"))


@router.patch("/grants/{grant_id}")
async def change_grant(world: TheWorld, grant_id: str, body: GrantBody) -> Json:
    """Set the token lifetime of one grant."""
    grant = _found(world.state.grants.get(grant_id), "grant")
    grant.rules["token_lifetime"] = body.token_lifetime
    return grant_summary(world, grant)


@router.post("/grants/{grant_id}/revoke")
async def revoke(world: TheWorld, grant_id: str, body: ReasonBody | None = None) -> Json:
    """Revoke a grant as its user would: every token of it is refused from now on."""
    grant = _found(world.state.grants.get(grant_id), "grant")
    _withdraw(world, grant, (body or ReasonBody()).reason)
    return grant_summary(world, grant)


def _withdraw(world: World, grant: Grant, why: str) -> None:
    """End a grant, and have the plain server tell of it; of one that had ended before it told then."""
    told = grant.revoked is not None
    revoke_grant(grant, why)
    if not told:
        world.webhooks.revoked(grant, world.unshifted)


@router.post("/webhooks")
async def send_webhooks(world: TheWorld, body: WebhookBody) -> Json:
    """Have the plain server send a signed webhook for every grant of it that is revoked here, until a reset."""
    world.webhooks.receiver = Receiver(str(body.url), body.signing_key)
    return {"url": str(body.url)}


@router.delete("/webhooks", status_code=204)
async def send_no_webhooks(world: TheWorld) -> None:
    """Send none any more."""
    world.webhooks.receiver = None


@router.get("/lookup")
async def lookup(
    world: TheWorld,
    access_token_sha256: str | None = None,
    refresh_token_sha256: str | None = None,
    code_sha256: str | None = None,
) -> Json:
    """Whether a token (by SHA-256 in hex) is valid, how often it was presented, if its grant lives."""
    asked = {"access": access_token_sha256, "refresh": refresh_token_sha256, "code": code_sha256}
    given = [(kind, key) for kind, key in asked.items() if key]
    if len(given) != 1:
        raise HTTPException(422, "Give exactly one fingerprint.")
    kind, key = given[0]
    return token_report(world, key.lower(), kind)


@router.get("/counters")
async def counters(world: TheWorld) -> dict[str, int]:
    """How often each endpoint was asked, calls that met a fault included."""
    return {name: world.state.asked.get(name, 0) for name in ENDPOINTS}


@router.get("/clock")
async def get_clock(world: TheWorld) -> dict[str, float]:
    """The time here, in seconds since the epoch."""
    return {"now": world.now(), "offset_seconds": world.state.clock_offset}


@router.post("/clock")
async def set_clock(world: TheWorld, body: ClockBody) -> dict[str, float]:
    """Set how far this clock is ahead of the real one (not added to what was set before)."""
    world.state.clock_offset = body.offset_seconds
    return await get_clock(world)


@router.post("/reset", status_code=204)
async def reset(world: TheWorld) -> None:
    """Back to the first start: apps, people, grants, faults, counters, settings and clock."""
    world.reset()
