"""The HTTP API: one router per path group, put together here."""

from typing import Any

from fastapi import FastAPI
from starlette.datastructures import State

from api import (
    api_keys,
    callback,
    connections,
    credentials,
    demo_page,
    done,
    elements,
    events,
    explain,
    health,
    home,
    inbound,
    installations,
    instance,
    problems,
    provider_configs,
    providers,
    refused,
    reports,
    session_tokens,
    sessions,
    sites,
    visits,
    webhook_config,
)
from api.auth import KeyCache
from api.deps import ApiDeps
from api.direct_reads import DirectReads
from api.flights import Flights
from api.limits import BodyLimit
from api.origins import Cors, KnownOrigins
from api.request_ids import RequestIds

VERSION = "0.1.0"
ROUTERS = (
    sessions.router,
    session_tokens.router,
    visits.router,
    callback.router,
    sites.router,
    done.router,
    refused.router,
    credentials.router,
    connections.router,
    installations.router,
    reports.router,
    explain.router,
    provider_configs.router,
    providers.router,
    inbound.router,
    events.router,
    webhook_config.router,
    api_keys.router,
    health.router,
    instance.router,
    elements.router,
    home.router,
    demo_page.router,
)


def create_app(deps: ApiDeps) -> FastAPI:
    """The application over what it works with."""
    return furnish(routes(), deps)


def furnish(app: FastAPI, deps: ApiDeps) -> FastAPI:
    """Give the routes what they work with, in place of all that another furnishing left; answers the application."""
    app.state = State({"deps": deps, "keys": KeyCache(), "flights": Flights(), "origins": KnownOrigins()})
    return app


def openapi_document() -> dict[str, Any]:
    """The document the API serves, without a running server."""
    return routes().openapi()


def routes() -> FastAPI:
    """All paths and what lies before them, with nothing behind them yet."""
    app = FastAPI(
        title="Authpipe",
        version=VERSION,
        summary="OAuth connections for SaaS and agent builders: install, connect, and fetch a valid credential.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        # Their pages load scripts from another origin and may be framed; the document itself is at /openapi.json.
        docs_url=None,
        redoc_url=None,
        # A redirect to another spelling of the path would carry the code of a callback in its Location.
        redirect_slashes=False,
    )
    # First added, innermost: when the vault is away, what comes after answers for it.
    app.add_middleware(DirectReads)
    app.add_middleware(Cors)
    problems.install(app)
    home.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestIds)
    for router in ROUTERS:
        app.include_router(router)
    return app
