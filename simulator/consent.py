"""The authorization endpoint of both servers: request checked, person signed in, decision recorded."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from simulator import pages
from simulator.errors import NO_STORE, RefusalError
from simulator.model import App, Grant, Person, Server
from simulator.tokens import end_family, new_code, new_family
from simulator.wire import form_pairs, once_each, query_pairs
from simulator.world import AuthorizationRequest, World, world_of

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # RFC 7636 section 4.2, of a SHA-256


@dataclass(frozen=True, slots=True)
class Face:
    """How one server's authorization endpoint differs. `known_scopes` empty: any."""

    server: Server
    demands: tuple[tuple[str, str], ...] = ()
    default_scope: str | None = None
    known_scopes: tuple[str, ...] = ()
    sends_issuer: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    error: str
    description: str


def issuer(world: World, request: Request) -> str:
    """The issuer identifier of the plain server (RFC 8414 section 2)."""
    return (world.settings.origin or str(request.base_url).rstrip("/")) + "/plain"


async def ask(face: Face, request: Request) -> Response:
    """GET: check the request and show the sign-in page."""
    world = world_of(request)
    pairs = query_pairs(request)
    params = _unrepeated(pairs)
    app = world.state.apps.get(params.get("client_id", ""))
    if app is None:
        _stop("This app is not registered here. Check the client id.")
    redirect_uri = params.get("redirect_uri", "")
    if not _allowed(app, redirect_uri):
        _stop("The redirect_uri is missing or not registered for this app.")
    if problem := _problem(face, params, app):
        return _send_back(face, request, redirect_uri, params.get("state"), _error(problem))
    asked = AuthorizationRequest(
        server=face.server,
        client_id=app.client_id,
        redirect_uri=redirect_uri,
        scopes=_scopes(face, params),
        state=params.get("state"),
        challenge=params.get("code_challenge"),
    )
    people = list(world.state.people.values())
    return pages.sign_in(world.remember(asked), asked, people)


def _unrepeated(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    try:
        return once_each(pairs)
    except RefusalError:
        _stop("A parameter of the authorization request is repeated.")


def _stop(message: str, status: int = 400) -> NoReturn:
    """A page of our own: nothing may be sent to a redirect URI that is not known to be the app's."""
    raise RefusalError(pages.message("This cannot go on", message, status))


def _allowed(app: App, redirect_uri: str) -> bool:
    if redirect_uri in app.redirect_uris:
        return True
    try:
        parts = urlsplit(redirect_uri)
    except ValueError:
        return False
    # "#" alone would be an empty fragment, which urlsplit does not show.
    return parts.scheme == "http" and parts.hostname in LOOPBACK and "#" not in redirect_uri


def _scopes(face: Face, params: dict[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(params.get("scope", face.default_scope or "").split()))


def _problem(face: Face, params: dict[str, str], app: App) -> Problem | None:
    if params.get("response_type") != "code":
        return Problem("unsupported_response_type", "Only response_type=code is supported.")
    for name, value in face.demands:
        if params.get(name) != value:
            return Problem("invalid_request", f"{name}={value} is required.")
    return _scope_problem(face, _scopes(face, params)) or _pkce_problem(params, app)


def _scope_problem(face: Face, scopes: tuple[str, ...]) -> Problem | None:
    if not scopes:
        return Problem("invalid_scope", "Ask for at least one scope.")
    for scope in scopes:
        if not SCOPE.fullmatch(scope) or (face.known_scopes and scope not in face.known_scopes):
            return Problem("invalid_scope", "A requested scope does not exist.")
    return None


def _pkce_problem(params: dict[str, str], app: App) -> Problem | None:
    challenge = params.get("code_challenge")
    if challenge is None:
        if app.secret_sha256 is None or "code_challenge_method" in params:
            return Problem("invalid_request", "code_challenge is required.")
        return None
    if params.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge):
        return Problem("invalid_request", "Use PKCE with S256.")
    return None


async def decide(face: Face, request: Request) -> Response:
    """POST: with a decision, redirect back with code or error; without one, show the consent page."""
    world = world_of(request)
    pairs = await form_pairs(request)
    form = dict(pairs)
    asked = world.pending.get(form.get("request", ""))
    if asked is None or asked.server != face.server or asked.client_id not in world.state.apps:
        _stop("This request was decided already or is unknown. Start again from the app.")
    if form.get("decision") == "deny":
        del world.pending[form["request"]]
        denied = Problem("access_denied", "User did not authorize the request")
        return _send_back(face, request, asked.redirect_uri, asked.state, _error(denied))
    person = world.state.people.get(form.get("person", ""))
    if person is None:
        _stop("Choose one of the people to sign in as.")
    if form.get("decision") != "allow":
        theirs = [site for site in world.state.sites.values() if site.id in person.sites]
        return pages.consent(form["request"], asked, person, theirs, picks_sites=face.server == "atlassian")
    picked = _picked(world, person, [value for name, value in pairs if name == "site"])
    lifetime = _lifetime(form.get("token_lifetime"))
    del world.pending[form["request"]]
    code = _record(world, asked, person, picked, lifetime)
    return _send_back(face, request, asked.redirect_uri, asked.state, {"code": code})


def _picked(world: World, person: Person, values: list[str]) -> list[str]:
    found = [world.site_named(value) for value in values]
    ids = [site.id for site in found if site is not None and site.id in person.sites]
    if len(ids) != len(values):
        _stop("One of the sites picked is not reached by this person.")
    return list(dict.fromkeys(ids))


def _lifetime(value: str | None) -> int | None:
    if not value:
        return None
    if not value.isdecimal() or not int(value):
        _stop("The token lifetime is a whole number of seconds.")
    return int(value)


def _record(world: World, asked: AuthorizationRequest, person: Person, sites: list[str], lifetime: int | None) -> str:
    """Write the consent down and give its code. At Atlassian an app has one grant per account.

    There the later consent's scopes replace the grant's, also for tokens that already exist.
    """
    grant = _grant_for(world, asked.server, asked.client_id, person.account_id)
    rules = world.grant_rules(grant)
    grant.scopes = [scope for scope in asked.scopes if scope not in rules.withheld_scopes]
    grant.sites = list(dict.fromkeys([*grant.sites, *sites]))
    if lifetime is not None:
        grant.rules["token_lifetime"] = lifetime
    if rules.second_consent == "kill":
        for family in grant.families.values():
            end_family(family, "second_consent")
    offline = asked.server == "plain" or "offline_access" in grant.scopes
    grant.count("consents")
    return new_code(world, asked, grant, new_family(world, grant, sites, offline=offline))


def _grant_for(world: World, server: Server, client_id: str, account_id: str) -> Grant:
    if server == "atlassian":
        for grant in world.state.grants.values():
            key = (grant.server, grant.client_id, grant.account_id)
            if key == (server, client_id, account_id) and not grant.revoked:
                return grant
    fresh = Grant(uuid.uuid4().hex, server, client_id, account_id, world.now())
    world.state.grants[fresh.id] = fresh
    return fresh


def _error(problem: Problem) -> dict[str, str]:
    return {"error": problem.error, "error_description": problem.description}


def _send_back(face: Face, request: Request, redirect_uri: str, state: str | None, answer: dict[str, str]) -> Response:
    """Redirect to the app (RFC 6749 section 4.1.2), with `iss` where the server has one (RFC 9207)."""
    if state is not None:
        answer = {**answer, "state": state}
    if face.sends_issuer:
        answer = {**answer, "iss": issuer(world_of(request), request)}
    parts = urlsplit(redirect_uri)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *answer.items()])
    return RedirectResponse(urlunsplit(parts._replace(query=query)), 303, NO_STORE)
