"""The demo's own: a person with a browser, without the browser. Follows links, fills in the simulator's forms."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx

CONSENT_LINK = re.compile(r'<a class="button" href="([^"]+)"')
SITES_PATH = "/oauth/sites/"
REFUSED_PATH = "/oauth/refused/"
REQUEST_FIELD = re.compile(r'name="request" value="([^"]+)"')


class Astray(Exception):
    """The walk did not go where it should have gone."""


@dataclass(frozen=True, slots=True)
class Return:
    """Where the browser ended, and what the query of that address says."""

    url: str
    said: dict[str, str]


class Visitor:
    """One browser: it keeps cookies by host, follows no redirect unasked, and runs no script."""

    def __init__(self) -> None:
        self.client = httpx.AsyncClient(follow_redirects=False, timeout=30, headers={"accept": "text/html"})

    async def close(self) -> None:
        await self.client.aclose()

    async def open(self, authorization_url: str) -> str:
        """Open our link; answers the provider's consent URL."""
        page = await self.client.get(authorization_url)
        if page.status_code == 303:
            return page.headers["location"]
        found = CONSENT_LINK.search(page.text)
        if page.status_code != 200 or found is None:
            raise Astray(f"our page answered {page.status_code} without a way on")
        return html.unescape(found.group(1))

    async def decide(
        self,
        consent_url: str,
        person: str,
        sites: Sequence[str] = (),
        *,
        allow: bool = True,
        lifetime: int | None = None,
    ) -> str:
        """Sign in at the provider and decide; answers the callback URL it sends the browser to."""
        page = await self.client.get(consent_url)
        found = REQUEST_FIELD.search(page.text)
        if found is None:
            raise Astray(f"the provider's page answered {page.status_code} without a form")
        form: dict[str, str | list[str]] = {
            "request": found.group(1),
            "person": person,
            "site": list(sites),
            "decision": "allow" if allow else "deny",
        }
        if lifetime is not None:
            form["token_lifetime"] = str(lifetime)
        answer = await self.client.post(consent_url.split("?")[0], data=form)
        if answer.status_code not in (302, 303):
            raise Astray(f"the provider's form answered {answer.status_code}")
        return answer.headers["location"]

    async def come_back(self, callback_url: str) -> Return:
        """Follow the provider's redirect to our callback; answers where that sends the browser on to.

        Our page that asks for a site has nothing to say in its address: what it waits for is added here.
        """
        answer = await self.client.get(callback_url)
        if answer.status_code != 303:
            raise Astray(f"our callback answered {answer.status_code}")
        url = answer.headers["location"]
        parts = urlsplit(url)
        if parts.path.startswith(REFUSED_PATH):
            raise Astray(f"our callback refused: {parts.path[len(REFUSED_PATH) :]}")
        if parts.path.startswith(SITES_PATH):
            return Return(url, {"session_id": parts.path[len(SITES_PATH) :], "status": "awaiting_selection"})
        return Return(url, dict(parse_qsl(parts.query)))

    async def walk(
        self,
        authorization_url: str,
        person: str,
        sites: Sequence[str] = (),
        *,
        allow: bool = True,
        lifetime: int | None = None,
    ) -> Return:
        """The whole way, from our link to the builder's page."""
        consent_url = await self.open(authorization_url)
        return await self.come_back(await self.decide(consent_url, person, sites, allow=allow, lifetime=lifetime))
