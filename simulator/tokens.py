"""Codes, token families, rotation and the checks of access tokens: what both servers share."""

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from simulator.model import AccessToken, App, Code, Family, Grant, RefreshToken, Server, fingerprint
from simulator.world import AuthorizationRequest, World


class Outcome(StrEnum):
    """What came of presenting a code or token; counted per fingerprint."""

    EXCHANGED = "exchanged"
    ROTATED = "rotated"
    REPLAYED = "replayed"  # again, inside the replay window
    ACCEPTED = "accepted"
    REUSED = "reused"  # again, where that is an offence
    UNKNOWN = "unknown"
    WRONG_CLIENT = "wrong_client"
    WRONG_REDIRECT_URI = "wrong_redirect_uri"
    WRONG_VERIFIER = "wrong_verifier"
    EXPIRED = "expired"
    ENDED = "ended"  # its family or grant is dead
    MISSING_SCOPE = "missing_scope"


class TokenRefusedError(Exception):
    """The code or token presented is not accepted, for the reason `outcome`."""

    def __init__(self, outcome: Outcome, grant: Grant | None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.grant = grant


@dataclass(frozen=True, slots=True)
class Issued:
    """A successful answer of the token endpoint; `expires_in` in seconds."""

    access_token: str
    refresh_token: str | None
    expires_in: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """Whose a valid access token is."""

    grant: Grant
    family: Family


def _refuse(world: World, secret: str, outcome: Outcome, grant: Grant | None = None) -> NoReturn:
    world.used(secret, outcome)
    if grant is not None:
        grant.count("refused")
    raise TokenRefusedError(outcome, grant)


def new_code(world: World, request: AuthorizationRequest, grant: Grant, family: Family) -> str:
    """A fresh authorization code, long as the real ones are."""
    raw = secrets.token_urlsafe(240)
    expires_at = world.now() + world.grant_rules(grant).code_lifetime
    code = Code(grant.id, family.id, request.redirect_uri, request.challenge, expires_at)
    world.state.codes[fingerprint(raw)] = code
    family.expires_at = expires_at
    return raw


def exchange(
    world: World, server: Server, app: App, raw_code: str, redirect_uri: str | None, verifier: str | None
) -> Issued:
    """Redeem a code, once (RFC 6749 section 4.1.3). A second time revokes what the first issued."""
    code = world.state.codes.get(fingerprint(raw_code))
    grant = world.state.grants.get(code.grant_id) if code else None
    if code is None or grant is None or grant.server != server:
        _refuse(world, raw_code, Outcome.UNKNOWN)
    if grant.client_id != app.client_id:
        _refuse(world, raw_code, Outcome.WRONG_CLIENT, grant)
    family = grant.families[code.family_id]
    verdict = _redemption(code_verdict(world, code, grant), code, redirect_uri, verifier)
    if verdict is Outcome.REUSED:
        end_family(family, "code_reused", access_too=True)
    if verdict is not Outcome.EXCHANGED:
        _refuse(world, raw_code, verdict, grant)
    code.used = True
    world.used(raw_code, Outcome.EXCHANGED)
    grant.count("exchanges")
    return _issue(world, grant, family)


def code_verdict(world: World, code: Code, grant: Grant) -> Outcome:
    """What presenting this code now would come to, redirect URI and verifier apart."""
    if code.used:
        return Outcome.REUSED
    if grant.revoked or grant.families[code.family_id].ended:
        return Outcome.ENDED
    return Outcome.EXPIRED if world.now() >= code.expires_at else Outcome.EXCHANGED


def _redemption(verdict: Outcome, code: Code, redirect_uri: str | None, verifier: str | None) -> Outcome:
    if verdict is not Outcome.EXCHANGED:
        return verdict
    if redirect_uri != code.redirect_uri:
        return Outcome.WRONG_REDIRECT_URI
    return verdict if _verified(code.challenge, verifier) else Outcome.WRONG_VERIFIER


def _verified(challenge: str | None, verifier: str | None) -> bool:
    """RFC 7636 section 4.6; a verifier without a challenge is refused too (RFC 9700 section 2.1.1)."""
    if challenge is None or verifier is None:
        return challenge is verifier
    digest = hashlib.sha256(verifier.encode()).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)


def refresh(world: World, server: Server, app: App, raw: str) -> Issued:
    """Rotate a refresh token, or answer a repetition: by the replay window at Atlassian, by death elsewhere."""
    token = world.state.refresh_tokens.get(fingerprint(raw))
    grant = world.state.grants.get(token.grant_id) if token else None
    if token is None or grant is None or grant.server != server:
        _refuse(world, raw, Outcome.UNKNOWN)
    if grant.client_id != app.client_id:
        _refuse(world, raw, Outcome.WRONG_CLIENT, grant)
    family = grant.families[token.family_id]
    match refresh_verdict(world, token, grant):
        case Outcome.ROTATED:
            token.rotated_at = world.now()
            family.unused.remove(fingerprint(raw))
            world.used(raw, Outcome.ROTATED)
            grant.count("refreshes")
        case Outcome.REPLAYED:
            world.used(raw, Outcome.REPLAYED)
            grant.count("replays_inside")
        case Outcome.REUSED:
            _punish_reuse(grant, family)
            _refuse(world, raw, Outcome.REUSED, grant)
        case refusal:
            _refuse(world, raw, refusal, grant)
    return _issue(world, grant, family)


def refresh_verdict(world: World, token: RefreshToken, grant: Grant) -> Outcome:
    """What presenting this refresh token now would come to; accepted are ROTATED and REPLAYED."""
    rules, now, family = world.grant_rules(grant), world.now(), grant.families[token.family_id]
    if grant.revoked or family.ended:
        return Outcome.ENDED
    if rules.refresh_absolute is not None and now >= family.created_at + rules.refresh_absolute:
        return Outcome.EXPIRED
    if now >= token.issued_at + rules.refresh_idle:
        return Outcome.EXPIRED
    if token.rotated_at is None:
        return Outcome.ROTATED
    window = rules.replay_window if grant.server == "atlassian" else 0
    return Outcome.REPLAYED if now - token.rotated_at < window else Outcome.REUSED


def _punish_reuse(grant: Grant, family: Family) -> None:
    grant.count("reuses_outside")
    end_family(family, "refresh_token_reused")
    if grant.server == "plain":
        revoke_grant(grant, "refresh_token_reused")


def _issue(world: World, grant: Grant, family: Family) -> Issued:
    now, lifetime = world.now(), world.grant_rules(grant).token_lifetime
    # As long as the signed tokens of the real server, so that nobody's column is too short for them.
    access = ".".join(secrets.token_urlsafe(length) for length in (27, 750, 192))
    world.state.access_tokens[fingerprint(access)] = AccessToken(grant.id, family.id, now + lifetime)
    family.expires_at = max(family.expires_at, now + lifetime)
    fresh = None
    if family.offline:
        fresh = secrets.token_urlsafe(360)
        family.unused.append(fingerprint(fresh))
        world.state.refresh_tokens[fingerprint(fresh)] = RefreshToken(grant.id, family.id, now)
    return Issued(access, fresh, lifetime, tuple(grant.scopes))


def check_access(world: World, server: Server, raw: str, scope: str | None = None) -> Access:
    """Whose token this is, if it is valid now and its grant holds `scope` now. Raises TokenRefusedError."""
    token = world.state.access_tokens.get(fingerprint(raw))
    grant = world.state.grants.get(token.grant_id) if token else None
    if token is None or grant is None or grant.server != server:
        _refuse(world, raw, Outcome.UNKNOWN)
    verdict = access_verdict(world, token, grant)
    if verdict is Outcome.ACCEPTED and scope is not None and scope not in grant.scopes:
        verdict = Outcome.MISSING_SCOPE
    if verdict is not Outcome.ACCEPTED:
        _refuse(world, raw, verdict, grant)
    world.used(raw, Outcome.ACCEPTED)
    grant.count("api_calls")
    return Access(grant, grant.families[token.family_id])


def access_verdict(world: World, token: AccessToken, grant: Grant) -> Outcome:
    """What presenting this access token now would come to, scope and site apart."""
    if token.revoked or grant.revoked or grant.families[token.family_id].access_ended:
        return Outcome.ENDED
    return Outcome.EXPIRED if world.now() >= token.expires_at else Outcome.ACCEPTED


def new_family(world: World, grant: Grant, sites: list[str], *, offline: bool) -> Family:
    family = Family(uuid.uuid4().hex, sites, offline, world.now())
    grant.families[family.id] = family
    return family


def end_family(family: Family, why: str, *, access_too: bool = False) -> None:
    """End the refresh tokens of a family; its access tokens live out their time unless `access_too`."""
    family.ended = family.ended or why
    family.access_ended = family.access_ended or access_too


def revoke_grant(grant: Grant, why: str) -> None:
    """End a grant and with it every token it ever gave."""
    grant.revoked = grant.revoked or why


def family_alive(world: World, grant: Grant, family: Family) -> bool:
    """Whether a refresh token of it would be rotated now or, without any, its code or last access works."""
    if grant.revoked or family.ended:
        return False
    if family.unused:
        tokens = (world.state.refresh_tokens[key] for key in family.unused)
        return any(refresh_verdict(world, token, grant) is Outcome.ROTATED for token in tokens)
    return world.now() < family.expires_at


def grant_alive(world: World, grant: Grant) -> bool:
    return any(family_alive(world, grant, family) for family in grant.families.values())
