"""Reads the provider files one by one, so that one faulty file does not hide the next; needs no database, no key."""

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from providers import catalog
from providers.loading import ProviderFileError
from providers.model import Provider
from runtime.commands.options import DONE, NOT_SO
from runtime.commands.printing import document, note, say
from runtime.progress import working
from runtime.settings import Settings, variable

ONLINE_SECONDS = 10
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where, and what is to be done. `key` is empty if the whole file is meant."""

    file: str
    key: str
    what: str


def examine(settings: Settings, *, online: bool, as_json: bool) -> int:
    """Print what is wrong; answers the exit code. The network is used if `online` only."""
    known, faults = read_files(settings)
    if online:
        with working("Calling …"):
            faults += asyncio.run(call_origins(known))
    if as_json:
        document({"read": len(known), "online": online, "faults": [asdict(fault) for fault in faults]})
        return NOT_SO if faults else DONE
    for fault in faults:
        say(": ".join(part for part in (fault.file, fault.key, fault.what) if part))
    say(
        f"{len(known)} provider files are right, "
        f"{len(faults)} {'thing is' if len(faults) == 1 else 'things are'} wrong."
    )
    if not online:
        note("The network was not used; --online calls every origin once.")
    return NOT_SO if faults else DONE


def read_files(settings: Settings) -> tuple[dict[Path, Provider], list[Fault]]:
    """Every right file with its provider, and what is wrong with the others."""
    known, errors = catalog.read_files(settings.providers_dir, allow_loopback_http=settings.development)
    return known, [_fault(error, settings) for error in errors]


def _fault(error: ProviderFileError, settings: Settings) -> Fault:
    whole_folder = error.file == str(settings.providers_dir)
    return Fault(error.file, variable("providers_dir") if whole_folder else error.key, error.reason)


async def call_origins(known: dict[Path, Provider], transport: httpx.AsyncBaseTransport | None = None) -> list[Fault]:
    """Call each origin once, without following anything. Any answer will do: it was reached, by valid https."""
    free = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(timeout=ONLINE_SECONDS, transport=transport) as client:

        async def call(path: Path, origin: str) -> Fault | None:
            async with free:
                try:
                    await client.head(origin)
                except httpx.HTTPError as error:
                    what = f"cannot be reached ({type(error).__name__}: {error}); look at the address and your network"
                    return Fault(str(path), origin, what)
            return None

        calls = [call(path, origin) for path, provider in known.items() for origin in sorted(_origins(provider))]
        return [fault for fault in await asyncio.gather(*calls) if fault]


def _origins(provider: Provider) -> Iterable[str]:
    urls = (
        provider.authorization_url,
        provider.token.url,
        provider.refresh_url,
        provider.identity and provider.identity.url,
        provider.sites and provider.sites.url,
        provider.revocation and provider.revocation.endpoint.url,
    )
    # What a config fills in is no address yet.
    return {
        f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in urls if url and "{" not in urlsplit(url).netloc
    }
