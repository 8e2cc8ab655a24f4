"""Whether browsers that a provider sends back reach this API: our own addresses, asked from here.

Nothing is followed, little is read, nothing of an answer is shown: an address in a config may be anybody's.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from runtime.doctor.findings import Code, Finding, found
from runtime.doctor.patient import Patient
from vault.configs import redirect_urls
from vault.instance import known_instance
from vault.keys import Keys

INSTANCE = "/oauth/instance"
# What our callback says to somebody who brings nothing.
UNINVITED = "state_unknown"
SECONDS = 5.0
MOST_BYTES = 4096
AT_ONCE = 8
_PLAIN_JSON = {"accept": "application/json", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back: its JSON object, empty for anything else; `fault` says why nothing did."""

    body: dict[str, Any]
    status: int = 0
    fault: str = ""


async def redirects(patient: Patient) -> AsyncIterator[Finding]:
    """Each redirect URL of an enabled config: does its origin show this vault, and does it lead to our callback?"""
    urls = await redirect_urls(patient.db)
    free = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(headers=_PLAIN_JSON) as client:

        async def look(url: str) -> Finding | None:
            async with free:
                return await _look(client, patient.keys, url, urls[url])

        for looking in asyncio.as_completed([look(url) for url in urls]):
            finding = await looking
            if finding:
                yield finding


async def _look(client: httpx.AsyncClient, keys: Keys, url: str, config_ids: Sequence[str]) -> Finding | None:
    where = f"{url} (config {config_ids[0]}{f' and {len(config_ids) - 1} more' if config_ids[1:] else ''})"
    origin = urlsplit(url)._replace(path=INSTANCE, query="", fragment="").geturl()
    shown = await _get(client, origin)
    if shown.fault:
        return found(Code.REDIRECT_URL_UNREACHABLE, f"{where}: {shown.fault}")
    known = await known_instance(keys)
    if known is None or shown.body.get("instance") != known:
        return found(Code.REDIRECT_URL_ASTRAY, f"{where}: {_who(shown)}")
    if (await _get(client, url)).body.get("code") != UNINVITED:
        return found(Code.REDIRECT_URL_ASTRAY, f"{where}: its path does not lead to /oauth/callback of this API")
    return None


def _who(shown: Answered) -> str:
    if "instance" in shown.body:
        return "the API of another vault answers there"
    return f"something else answers there ({shown.status} for {INSTANCE})"


async def _get(client: httpx.AsyncClient, url: str) -> Answered:
    try:
        async with asyncio.timeout(SECONDS), client.stream("GET", url) as response:
            return Answered(await _object(response), response.status_code)
    except TimeoutError:
        return Answered({}, fault=f"no answer within {SECONDS:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return Answered({}, fault=f"cannot be reached ({type(error).__name__})")


async def _object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a short answer."""
    held = b""
    async for chunk in response.aiter_raw(MOST_BYTES):
        held += chunk
        if len(held) > MOST_BYTES:
            return {}
    try:
        body = json.loads(held)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
