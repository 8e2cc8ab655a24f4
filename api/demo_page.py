"""`/demo`: a builder's backend and frontend in small, made of the elements. Development only; 404 elsewhere.

Its own routes act with the power of a secret key, in this process: no key reaches the page. So they answer to this
page alone, under the addresses it is known by (a foreign name that points here is refused too), and without CORS.
"""

from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import httpx
from fastapi import APIRouter, Depends, Query, Request, Response
from sqlmodel import col, select
from starlette.responses import RedirectResponse

from api import connections, credentials, installations, life_views, session_tokens
from api.auth import Caller
from api.credentials import GetCredentialParams, GetCredentialResult
from api.deps import ApiDeps, DemoPlaces, DepsOf
from api.fields import Body, BuilderId, PathId
from api.flights import Flights
from api.lives import workflow_of
from api.session_tokens import CreateSessionTokenParams, SessionTokenResult
from domain.credential import refreshable_from
from domain.errors import Problem
from domain.life import Kind, Status
from vault import configs, reading
from vault.tables import Life, ProviderConfig

FOLDER = Path(__file__).parent / "demo"
FILES = {"demo.html": "text/html", "demo.js": "text/javascript", "demo.css": "text/css"}
CONTENT = {name: (FOLDER / name).read_bytes() for name in FILES}
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}

BACKEND = Caller("default", "secret")
SHOWN = 4
PROVIDER_SECONDS = 10

Slot = Literal["installation", "connection", "several"]
Json = dict[str, Any]


def places(deps: DepsOf) -> DemoPlaces:
    """What the demo is made of; outside development there is no demo at all."""
    if not deps.development or deps.demo is None:
        raise Problem("not_found")
    return deps.demo


Places = Annotated[DemoPlaces, Depends(places)]


def own_origin(request: Request, demo: Places) -> str:
    """The origin of the demo's page, if it is what asks. Raises `forbidden` for any other."""
    host = request.headers.get("host", "")
    own = next((origin for origin in demo.origins if urlsplit(origin).netloc == host), None)
    origin = request.headers.get("origin", "" if request.method == "POST" else own)
    if own is None or origin != own or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Problem("forbidden", "The demo answers to its own page alone.")
    return own


OwnOrigin = Annotated[str, Depends(own_origin)]
pages = APIRouter(prefix="/demo", include_in_schema=False, dependencies=[Depends(places)])
own = APIRouter(prefix="/demo/api", include_in_schema=False, dependencies=[Depends(own_origin)])


@pages.get("")
@pages.get("/")
async def page(request: Request, demo: Places) -> Response:
    """Under the one address that the hosted pages and their cookies belong to; browsers tell it from its twins."""
    main, *twins = demo.origins
    if request.headers.get("host", "") in [urlsplit(twin).netloc for twin in twins if twin != main]:
        return RedirectResponse(f"{main}/demo", 307, HEADERS)
    return _file("demo.html")


@pages.get("/{name}")
async def file(name: str) -> Response:
    if name not in FILES:
        raise Problem("not_found")
    return _file(name)


def _file(name: str) -> Response:
    return Response(CONTENT[name], headers=HEADERS, media_type=FILES[name])


@own.get("/state")
async def state(
    deps: DepsOf,
    demo: Places,
    tenant_id: Annotated[BuilderId, Query()],
    user_id: Annotated[BuilderId, Query()],
) -> Json:
    """Everything the page shows of this tenant and user, as it stands now."""
    config = await _config(deps, demo)
    slots: dict[Slot, Life | None] = {
        "installation": await _newest(deps, config, Kind.INSTALLATION, tenant_id),
        "connection": await _newest(deps, config, Kind.CONNECTION, tenant_id, user_id),
        "several": await _newest(deps, config, Kind.INSTALLATION, tenant_id, label="several"),
    }
    return {
        "now": deps.clock(),
        "provider": {"id": demo.provider, "name": deps.catalog[demo.provider].name},
        "temporal_ui": demo.temporal_ui,
        "simulator": demo.simulator,
        "lives": {slot: await _shown(deps, demo, life) if life else None for slot, life in slots.items()},
    }


class Opening(Body):
    slot: Slot
    tenant_id: BuilderId
    user_id: BuilderId


@own.post("/session-tokens", status_code=201)
async def mint(body: Opening, deps: DepsOf, demo: Places, origin: OwnOrigin) -> SessionTokenResult:
    """What a builder's backend does for its page: say for whom the next session is."""
    config = await _config(deps, demo)
    connecting = body.slot == "connection"
    inside = await _newest(deps, config, Kind.INSTALLATION, body.tenant_id) if connecting else None
    living = inside is not None and inside.status == Status.ACTIVE and inside.deleted_at is None
    wanted = CreateSessionTokenParams(
        provider=demo.provider,
        tenant_id=body.tenant_id,
        user_id=body.user_id if connecting else None,
        kind=Kind.CONNECTION if connecting else Kind.INSTALLATION,
        # With two installations of one tenant it has to be said in which one.
        installation_id=inside.id if inside and living else None,
        provider_config_id=config.id,
        label="several" if body.slot == "several" else "default",
        opener_origin=origin,
    )
    return await session_tokens.mint(wanted, BACKEND, deps)


@own.post("/lives/{id}/call")
async def call(life_id: PathId, request: Request, response: Response, deps: DepsOf, demo: Places) -> Json:
    """Use the credential at the provider, as a builder's backend would; the page sees some harmless fields."""
    asked = _credential(await _life(deps, life_id), request, response, deps)
    return await _or_problem(_call(demo, asked))


async def _call(demo: DemoPlaces, asked: Awaitable[GetCredentialResult]) -> Json:
    said = await asked
    base = f"/ex/jira/{quote(said.site.id if said.site else '', safe='')}/rest/api/3"
    headers = {"authorization": f"Bearer {said.credential}"}
    async with _provider(demo) as http:
        me = await http.get(f"{base}/myself", headers=headers)
        found = await http.get(f"{base}/search/jql", headers=headers, params={"jql": "order by created"})
    return {"status": me.status_code, **_harmless(me, found), "generation": said.generation}


def _harmless(me: httpx.Response, found: httpx.Response) -> Json:
    if not (me.is_success and found.is_success):
        return {}
    issues = [f"{issue['key']}: {issue['fields']['summary']}" for issue in found.json()["issues"]]
    return {"signed_in_as": str(me.json()["displayName"]), "issues": issues}


@own.post("/lives/{id}/refresh")
async def refresh(life_id: PathId, request: Request, deps: DepsOf) -> Json:
    life = await _life(deps, life_id)
    return await _or_problem(_refresh(deps, request.app.state.flights, life))


async def _refresh(deps: ApiDeps, flights: Flights, life: Life) -> Json:
    """Refreshed or not, and from when on it may be asked for again."""
    said = await life_views.refresh(deps, flights, BACKEND, Kind(life.kind), life.id)
    now = await _life(deps, life.id)
    from_ = refreshable_from(now.issued_at, now.expires_at) if now.issued_at else None
    return {**said.model_dump(mode="json"), "again_at": from_ if from_ and from_ > deps.clock() else None}


@own.post("/lives/{id}/revoke")
async def revoke(life_id: PathId, request: Request, deps: DepsOf, demo: Places) -> Json:
    """Take the grant back at the provider, as the person could do in their settings there; then see if it is noticed.

    A builder's backend would meet a refusal there and ask in the same way.
    """
    life = await _life(deps, life_id)
    revoked = await _or_problem(_revoke(demo, life))
    if not revoked.get("revoked"):
        return revoked
    asked = await _or_problem(_refresh(deps, request.app.state.flights, life))
    noticed = (await _life(deps, life_id)).status == Status.NEEDS_REAUTH
    return {**revoked, "noticed": noticed, "again_at": asked.get("again_at")}


async def _revoke(demo: DemoPlaces, life: Life) -> Json:
    wanted = {"client_id": demo.client_id, "account_id": life.account_id}
    async with _provider(demo) as http:
        grants = (await http.get("/_admin/grants", params=wanted)).raise_for_status().json()
        for grant in grants:
            (await http.post(f"/_admin/grants/{grant['id']}/revoke")).raise_for_status()
    return {"revoked": len(grants)}


@own.post("/lives/{id}/delete")
async def delete(life_id: PathId, deps: DepsOf) -> Json:
    life = await _life(deps, life_id)
    answer = await life_views.delete(deps, BACKEND, Kind(life.kind), life.id)
    return {"upstream": answer.headers["authpipe-upstream"]}


async def _or_problem(done: Awaitable[Json]) -> Json:
    """What was done, or why not, in words: a refusal is something to show here, no error of the page."""
    try:
        return await done
    except Problem as problem:
        return {"problem": f"{problem.detail.rstrip('.')}. {problem.row.remedy}"}
    except (httpx.HTTPError, ValueError) as error:
        return {"problem": f"The provider gave no usable answer ({type(error).__name__})."}


async def _credential(life: Life, request: Request, response: Response, deps: ApiDeps) -> GetCredentialResult:
    installation = life.kind == Kind.INSTALLATION
    wanted = GetCredentialParams(
        provider=life.provider_id,
        tenant_id=life.tenant_id,
        credential_for="installation" if installation else "user",
        installation_id=life.id if installation else None,
        connection_id=None if installation else life.id,
        provider_config_id=life.provider_config_id,
    )
    return await credentials.get_credential(wanted, request, response, BACKEND, deps)


def _provider(demo: DemoPlaces) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=demo.simulator, transport=demo.transport, timeout=PROVIDER_SECONDS)


async def _config(deps: ApiDeps, demo: DemoPlaces) -> ProviderConfig:
    """The config of the app that the simulator knows from the start."""
    ours = (col(ProviderConfig.provider_id) == demo.provider, col(ProviderConfig.client_id) == demo.client_id)
    async with deps.db.reading() as tx:
        found = await configs.search(tx, BACKEND.workspace_id, *ours)
    enabled = [config for config in found if config.enabled]
    if not enabled:
        raise Problem("config_missing", f"No enabled provider config has the client id {demo.client_id}.")
    return enabled[0]


async def _newest(
    deps: ApiDeps, config: ProviderConfig, kind: Kind, tenant_id: str, user_id: str = "", label: str = "default"
) -> Life | None:
    """The life that was begun last and was ever active, so that a deleted one is still seen."""
    query = (
        select(Life)
        .where(
            Life.workspace_id == BACKEND.workspace_id,
            Life.provider_config_id == config.id,
            Life.kind == kind,
            Life.tenant_id == tenant_id,
            Life.user_id == user_id,
            Life.label == label,
            col(Life.connected_at).is_not(None),
        )
        .order_by(col(Life.created_at).desc())
        .limit(1)
    )
    async with deps.db.reading() as tx:
        return (await tx.exec(query)).first()


async def _life(deps: ApiDeps, life_id: str) -> Life:
    async with deps.db.reading() as tx:
        life = await tx.get(Life, life_id)
    if life is None or life.workspace_id != BACKEND.workspace_id:
        raise Problem("not_found")
    return life


async def _shown(deps: ApiDeps, demo: DemoPlaces, life: Life) -> Json:
    """A life as the API shows it, the beginning of its credential, and where its workflow is looked at."""
    seen = await life_views.look(deps, BACKEND, Kind(life.kind), life.id)
    show = installations.shown if life.kind == Kind.INSTALLATION else connections.shown
    found = None if seen.deleted else await reading.find_one(deps.db, life.id)
    workflow = quote(workflow_of(life), safe="")
    return {
        **show(seen).model_dump(mode="json", exclude_none=True),
        "deleted": seen.deleted,
        "generation": life.generation,
        "credential": masked(await reading.open_access(deps.sealer, found)) if found else None,
        "workflow_url": f"{demo.temporal_ui}/namespaces/default/workflows/{workflow}",
    }


def masked(secret: str) -> str:
    """Its first characters: enough to see that there is one, too little to use it."""
    return secret[:SHOWN] + "•" * 12


router = APIRouter()
router.include_router(own)
router.include_router(pages)
