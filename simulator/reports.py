"""What the admin endpoint tells of grants and tokens. Tokens appear by their SHA-256 only."""

from typing import Any

from simulator.model import AccessToken, Code, Grant, RefreshToken
from simulator.tokens import (
    Outcome,
    access_verdict,
    code_verdict,
    family_alive,
    grant_alive,
    refresh_verdict,
)
from simulator.world import World

COUNTERS = (
    "consents",
    "exchanges",
    "refreshes",  # rotations of a token never used before
    "replays_inside",  # the same token again, inside the replay window
    "reuses_outside",  # again, outside of it
    "refused",  # codes, refresh and access tokens presented in vain
    "api_calls",  # answered; the refused are not among them
)


def grant_summary(world: World, grant: Grant) -> dict[str, Any]:
    """A grant without its tokens. `alive`: the provider would still honour it without a new consent."""
    person = world.person_of(grant.account_id)
    families = [
        {"id": f.id, "alive": family_alive(world, grant, f), "ended": f.ended, "created_at": f.created_at}
        for f in grant.families.values()
    ]
    living = [family["id"] for family in families if family["alive"]]
    return {
        "id": grant.id,
        "server": grant.server,
        "client_id": grant.client_id,
        "person": person.role if person else None,
        "account_id": grant.account_id,
        "alive": bool(living),
        "revoked": grant.revoked,
        "scopes": grant.scopes,
        "sites": grant.sites,
        "created_at": grant.created_at,
        "current_family": living[-1] if living else None,
        "families": families,
        "counters": {name: grant.counters.get(name, 0) for name in COUNTERS},
    }


def grant_report(world: World, grant: Grant) -> dict[str, Any]:
    """A grant with all its codes and tokens, and what came of presenting each."""
    return {**grant_summary(world, grant), "tokens": [token_report(world, key) for key in _keys(world, grant)]}


def _keys(world: World, grant: Grant) -> list[str]:
    state = world.state
    items: list[tuple[str, Code | RefreshToken | AccessToken]]
    items = [*state.codes.items(), *state.refresh_tokens.items(), *state.access_tokens.items()]
    return [key for key, item in items if item.grant_id == grant.id]


def token_report(world: World, key: str, wanted: str | None = None) -> dict[str, Any]:
    """What is known of a fingerprint (as of a token of the kind `wanted`), if only that it was presented.

    `valid`: it would be accepted now; `current`: and, for a refresh token, it was never used yet.
    """
    state = world.state
    item = state.codes.get(key) or state.refresh_tokens.get(key) or state.access_tokens.get(key)
    outcomes = state.uses.get(key, {})
    report = {"sha256": key, "presented": sum(outcomes.values()), "outcomes": outcomes}
    if item is None or wanted not in {None, _kind(item)}:
        return {**report, "known": False, "kind": None, "valid": False, "current": False, "grant_alive": False}
    grant = state.grants[item.grant_id]
    verdict = _verdict(world, item, grant)
    return {
        **report,
        "known": True,
        "kind": _kind(item),
        "valid": verdict in {Outcome.ACCEPTED, Outcome.EXCHANGED, Outcome.ROTATED, Outcome.REPLAYED},
        "current": verdict in {Outcome.ACCEPTED, Outcome.EXCHANGED, Outcome.ROTATED},
        "would_be": verdict,
        "grant_id": grant.id,
        "family_id": item.family_id,
        "family_alive": family_alive(world, grant, grant.families[item.family_id]),
        "grant_alive": grant_alive(world, grant),
        "expires_at": None if isinstance(item, RefreshToken) else item.expires_at,
    }


def _verdict(world: World, item: Code | RefreshToken | AccessToken, grant: Grant) -> Outcome:
    match item:
        case RefreshToken():
            return refresh_verdict(world, item, grant)
        case AccessToken():
            return access_verdict(world, item, grant)
        case Code():
            return code_verdict(world, item, grant)


def _kind(item: Code | RefreshToken | AccessToken) -> str:
    return {Code: "code", RefreshToken: "refresh", AccessToken: "access"}[type(item)]
