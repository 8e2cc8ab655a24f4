"""The parts of a development stack: how each is started, and how one sees that it works."""

import json
import sys

import httpx
from temporalio.client import Client
from temporalio.service import RPCError

from runtime.demo_setup import development_origins, simulator_origin
from runtime.running import pollers_of
from runtime.settings import Settings, variable
from runtime.supervisor import Part
from runtime.temporal_server import HOST, server_answers, server_command
from workflows.queues import LIFE_QUEUE

LIVE_PATH = "/health/live"
# So that one can look on while a credential is renewed, or its end is noticed.
TOKEN_SECONDS = 120


def api_url(settings: Settings) -> str:
    """Where this machine reaches the API, whatever browsers call it."""
    host = HOST if settings.api_host in {"0.0.0.0", "::"} else settings.api_host  # noqa: S104
    return f"http://{host}:{settings.api_port}"


def ports(settings: Settings) -> dict[str, int]:
    """Every port the stack listens on, by the setting that moves it."""
    fields = ("api_port", "temporal_port", "temporal_ui_port", "simulator_port")
    metrics = settings.metrics_address.rpartition(":")[2]
    return {field: getattr(settings, field) for field in fields} | (
        {"metrics_address": int(metrics)} if metrics else {}
    )


def engine(settings: Settings) -> Part:
    """Temporal's server; it starts first and ends last."""

    async def ready(_pid: int) -> bool:
        return await server_answers(settings)

    return Part("temporal", server_command(settings), ready, stage=0)


def others(settings: Settings) -> tuple[Part, ...]:
    """Worker, API and simulator; they start together once Temporal answers."""
    env = environment(settings)

    async def worker_ready(pid: int) -> bool:
        return await _polls(settings, pid)

    async def api_ready(_pid: int) -> bool:
        return await _serves(api_url(settings) + LIVE_PATH)

    async def simulator_ready(_pid: int) -> bool:
        return await _serves(simulator_origin(settings) + "/")

    worker = {**env, **workers_own(settings)}
    state = settings.data_dir / "simulator.json"
    where = ("--port", str(settings.simulator_port), "--state", str(state))
    simulator = ("-m", "simulator", *where, "--token-lifetime", str(TOKEN_SECONDS))
    return (
        Part("worker", (sys.executable, "-m", "worker"), worker_ready, worker),
        Part("api", (sys.executable, "-m", "runtime.cli", "api"), api_ready, env),
        Part("simulator", (sys.executable, *simulator), simulator_ready, env),
    )


def environment(settings: Settings) -> dict[str, str]:
    """What our parts are told beside the environment that we were started with."""
    return {
        "PYTHONUNBUFFERED": "1",
        variable("env"): settings.env,
        variable("data_dir"): str(settings.data_dir),
        variable("provider_origins"): json.dumps(development_origins(settings)),
        # Here is one version, and nobody to make it the current one.
        variable("worker_deployment"): "",
        variable("worker_build_id"): "",
    }


def workers_own(settings: Settings) -> dict[str, str]:
    """What the worker alone is told: its metrics stand beside the API's, at the next port."""
    if not settings.metrics_address:
        return {}
    host, _, port = settings.metrics_address.rpartition(":")
    return {variable("metrics_address"): f"{host}:{int(port) + 1}"}


async def _polls(settings: Settings, pid: int) -> bool:
    try:
        return await polls(await Client.connect(f"{HOST}:{settings.temporal_port}"), pid)
    except (RuntimeError, RPCError):
        return False


async def polls(client: Client, pid: int) -> bool:
    """True once that very process asks Temporal for work; the server also lists pollers of minutes ago."""
    pollers = await pollers_of(client, LIFE_QUEUE, workflows=True)
    return any(poller.identity.startswith(f"{pid}@") for poller in pollers)


async def _serves(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=2) as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False
