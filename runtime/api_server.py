"""The API process: opens what the API works with, serves it, and closes it again."""

import signal

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from activities.causes import UNTRACED
from api.app import create_app
from runtime.access_log import AccessLog
from runtime.compose import open_api_deps
from runtime.ports import listen
from runtime.settings import Settings
from runtime.telemetry import OFF, Telemetry, open_telemetry
from runtime.tracing import TracedRequests

# More than a request may wait for a workflow (`ApiDeps.wait`), less than a container is given to end.
GRACE_SECONDS = 10

log = structlog.get_logger(__name__)


def run_api(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish, for `GRACE_SECONDS` at most."""
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    async with open_telemetry(settings, "api") as telemetry, open_api_deps(settings, telemetry) as deps:
        await serve(create_app(deps), settings, telemetry)


async def serve(app: ASGIApp, settings: Settings, telemetry: Telemetry = OFF) -> None:
    """Serve one application on the API's port. Raises `PortTakenError`."""
    app = AccessLog(app, telemetry.measures)
    config = uvicorn.Config(
        app if telemetry.tracer is UNTRACED else TracedRequests(app, telemetry.tracer),
        loop="none",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    with listen("api_port", settings.api_port, settings.api_host) as socket:
        # uvicorn raises the signal anew when it has ended, which would end us before pools and files are closed.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        log.info("listening", address=f"{settings.api_host}:{settings.api_port}")
        await uvicorn.Server(config).serve(sockets=[socket])
