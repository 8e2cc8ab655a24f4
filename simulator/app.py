"""The simulator as one ASGI application."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from simulator import admin, atlassian, jira, pages, plain
from simulator.settings import SimulatorSettings
from simulator.world import World, world_of


def create_app(settings: SimulatorSettings, clock: Callable[[], float] = time.time) -> FastAPI:
    """Build the application. `clock` gives seconds since the epoch, so that a test can set the time.

    Raises pydantic's ValidationError if the state file is not one of ours.
    """
    return furnish(routes(), settings, clock)


def furnish(app: FastAPI, settings: SimulatorSettings, clock: Callable[[], float]) -> FastAPI:
    """Put a world of its own behind the routes, in place of the one that was; answers the application."""
    app.state.world = World(settings, clock)
    return app


def routes() -> FastAPI:
    """All paths, with no world behind them yet."""
    app = FastAPI(
        title="Provider simulator",
        summary="Admin calls of the simulated OAuth providers.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/_admin/openapi.json",
        lifespan=_saving_at_the_end,
    )
    app.add_api_route("/", _index, include_in_schema=False)
    for module in (atlassian, jira, plain, admin):
        app.include_router(module.router)
    return app


@asynccontextmanager
async def _saving_at_the_end(app: FastAPI) -> AsyncGenerator[None]:
    yield
    world: World = app.state.world
    await world.webhooks.close()
    world.save()


async def _index(request: Request) -> Response:
    """What this is, for whoever opens it in a browser."""
    state = world_of(request).state
    return pages.index(list(state.people.values()), state.sites, ADMIN_CALLS)


def _admin_calls() -> list[tuple[str, str]]:
    calls = []
    for route in admin.router.routes:
        if isinstance(route, APIRoute):
            methods = " ".join(sorted(route.methods or ()))
            calls.append((f"{methods} {route.path}", route.description.partition("\n")[0]))
    return calls


ADMIN_CALLS = _admin_calls()
