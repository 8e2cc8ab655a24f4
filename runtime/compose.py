"""Builds, once per process, what the rooms below work with, out of the settings."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.request import getproxies_environment

from activities.deps import Deps, Limits
from activities.http import ProviderHttp
from activities.outgoing import Outgoing
from api.breakers import Breakers
from api.deps import ApiDeps
from api.lives import Lives
from domain.addresses import LOOPBACK, parse_networks
from domain.points import Point, go_on
from providers.catalog import Catalog, load_catalog
from providers.loading import ProviderFileError
from runtime.demo_setup import demo_places
from runtime.errors import SettingsError, StartError
from runtime.hints import Hints
from runtime.pauses import Pauses
from runtime.settings import Settings
from runtime.telemetry import OFF, Telemetry
from runtime.temporal import connect
from runtime.vault_setup import clock, open_vault
from vault.crypto import Sealer
from vault.retention import Keep


def catalog_of(settings: Settings) -> Catalog:
    """The providers. Raises `StartError`, naming file, key and reason."""
    try:
        return load_catalog(
            settings.providers_dir,
            allow_loopback_http=settings.development,
            origins=settings.provider_origins,
        )
    except ProviderFileError as error:
        raise StartError(str(error)) from None


def limits_of(settings: Settings) -> Limits:
    """How long activities may take."""
    return Limits(
        lease=timedelta(seconds=settings.refresh_lease_seconds),
        http=timedelta(seconds=settings.provider_timeout_seconds),
        selection=timedelta(minutes=settings.selection_minutes),
        verification=timedelta(minutes=settings.verification_minutes),
        delivery=timedelta(days=settings.webhook_retry_days),
        keep=Keep(
            sessions=timedelta(days=settings.keep_sessions_days),
            ledger=timedelta(days=settings.keep_ledger_days),
            events=timedelta(days=settings.keep_events_days),
            tombstones=timedelta(days=settings.keep_tombstones_days),
        ),
    )


def outgoing_of(settings: Settings) -> Outgoing:
    """The way to builders' URLs; in development this machine's own may be among them."""
    networks = parse_networks(settings.webhook_networks)
    return Outgoing((*networks, *LOOPBACK) if settings.development else networks)


def pauses_of(settings: Settings) -> Callable[[Point, str], Awaitable[None]]:
    """What happens at the points that fault tests hold a process at."""
    return Pauses(settings.pause_dir) if settings.pause_dir else go_on


def _way_out(telemetry: Telemetry) -> ProviderHttp:
    try:
        return ProviderHttp.open(telemetry.tracer, proxies=getproxies_environment())
    except ValueError:
        said = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY: one names no proxy that can be used; give a URL as http://host:3128"
        raise SettingsError(said) from None


@asynccontextmanager
async def open_activity_deps(settings: Settings, telemetry: Telemetry = OFF) -> AsyncIterator[Deps]:
    """What the worker's activities work with; closed at the end. Raises a refusal if something is amiss."""
    catalog = catalog_of(settings)
    async with open_vault(settings) as vault:
        http = _way_out(telemetry)
        try:
            yield Deps(
                vault.db,
                Sealer(vault.keys),
                catalog,
                http,
                clock,
                limits_of(settings),
                pauses_of(settings),
                outgoing=outgoing_of(settings),
                measures=telemetry.measures,
                tracer=telemetry.tracer,
            )
        finally:
            await http.close()


@asynccontextmanager
async def open_api_deps(settings: Settings, telemetry: Telemetry = OFF) -> AsyncIterator[ApiDeps]:
    """What the API's routes work with; closed at the end. It starts without Temporal. Raises a refusal."""
    catalog = catalog_of(settings)
    async with open_vault(settings) as vault:
        client = await connect(settings, lazy=True, telemetry=telemetry)
        vault.db.on_events = hints = Hints(client)
        try:
            yield ApiDeps(
                db=vault.db,
                sealer=Sealer(vault.keys),
                catalog=catalog,
                lives=Lives(client),
                clock=clock,
                development=settings.development,
                session_life=timedelta(minutes=settings.session_minutes),
                selection_life=timedelta(minutes=settings.selection_minutes),
                verification_life=timedelta(minutes=settings.verification_minutes),
                reached=pauses_of(settings),
                demo=demo_places(settings) if settings.development else None,
                trip=Breakers(client).look,
                outgoing=outgoing_of(settings),
                measures=telemetry.measures,
            )
        finally:
            await hints.close()
