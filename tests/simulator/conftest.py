"""A simulator in process on a clock the test sets, and a client that drives it as an app would."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from tests.applications import the_simulator

REDIRECT = "http://localhost:5000/oauth/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SECRET = "authpipe-dev-secret"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Sim:
    """Paths of one of the two servers, and the steps of the dance against them."""

    http: httpx.AsyncClient
    clock: Clock
    plain: bool = False
    client_id: str = "authpipe-dev"
    secret: str | None = SECRET
    scope: str = "read:jira-user read:jira-work offline_access"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def authorize_path(self) -> str:
        return "/plain/authorize" if self.plain else "/authorize"

    @property
    def token_path(self) -> str:
        return "/plain/token" if self.plain else "/oauth/token"

    def sha(self, secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()

    def authorize_params(self, **changes: str | None) -> dict[str, str]:
        params: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "scope": self.scope,
            "state": "s-1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        if not self.plain:
            params |= {"audience": "api.atlassian.com", "prompt": "consent"}
        return {name: value for name, value in (params | changes).items() if value is not None}

    async def open(self, **changes: str | None) -> httpx.Response:
        return await self.http.get(f"{self.authorize_path}?{urlencode(self.authorize_params(**changes))}")

    async def decide(
        self, request_id: str, decision: str = "allow", person: str = "admin", sites: Iterable[str] = (), **more: str
    ) -> httpx.Response:
        data = {"request": request_id, "person": person, "site": list(sites), "decision": decision, **more}
        return await self.http.post(self.authorize_path, data=data)

    def request_id(self, page: httpx.Response) -> str:
        found = re.search(r'name="request" value="([^"]+)"', page.text)
        assert found, page.text
        return found[1]

    def answer(self, response: httpx.Response) -> dict[str, str]:
        assert response.status_code == 303, response.text
        return dict(parse_qsl(urlsplit(response.headers["location"]).query))

    async def consent(
        self, person: str = "admin", sites: Iterable[str] = ("Acme Engineering",), **changes: str | None
    ) -> str:
        """A code."""
        more = {"token_lifetime": changes.pop("token_lifetime")} if changes.get("token_lifetime") else {}
        page = await self.open(**changes)
        sites = () if self.plain else sites
        return self.answer(await self.decide(self.request_id(page), "allow", person, sites, **more))["code"]

    async def post_token(self, **changes: str | None) -> httpx.Response:
        params = {"client_id": self.client_id, "client_secret": self.secret, **changes}
        return await self.http.post(self.token_path, data={k: v for k, v in params.items() if v is not None})

    async def exchange(self, code: str, **changes: str | None) -> httpx.Response:
        params = {"redirect_uri": REDIRECT, "code_verifier": VERIFIER, **changes}
        return await self.post_token(grant_type="authorization_code", code=code, **params)

    async def refresh(self, token: str, **changes: str | None) -> httpx.Response:
        return await self.post_token(grant_type="refresh_token", refresh_token=token, **changes)

    async def connect(self, person: str = "admin", **changes: Any) -> dict[str, Any]:
        """A token answer."""
        answer = await self.exchange(await self.consent(person, **changes))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def get(self, path: str, token: str) -> httpx.Response:
        return await self.http.get(path, headers={"Authorization": f"Bearer {token}"})

    async def sites(self, token: str) -> set[str]:
        answer = await self.get("/oauth/token/accessible-resources", token)
        assert answer.status_code == 200, answer.text
        return {site["name"] for site in answer.json()}

    async def myself(self, token: str, site: str = "Acme Engineering") -> httpx.Response:
        return await self.get(f"/ex/jira/{await self.cloud_id(site)}/rest/api/3/myself", token)

    async def cloud_id(self, site: str) -> str:
        for account in await self.admin("GET", "accounts"):
            for reached in account["sites"]:
                if reached["name"] == site:
                    return str(reached["id"])
        raise LookupError(site)

    async def admin(self, method: str, path: str, expected: int = 200, /, **body: Any) -> Any:
        answer = await self.http.request(method, f"/_admin/{path}", json=body if method != "GET" else None)
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.content else None

    async def grant(self) -> Any:
        """The one grant there is, with its tokens."""
        (only,) = await self.admin("GET", "grants")
        return await self.admin("GET", f"grants/{only['id']}")

    async def lookup(self, kind: str, token: str) -> Any:
        return await self.admin("GET", f"lookup?{kind}_token_sha256={self.sha(token)}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def http(clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(the_simulator(clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://sim.test") as client:
        yield client


@pytest.fixture
def sim(http: httpx.AsyncClient, clock: Clock) -> Sim:
    """The Atlassian server."""
    return Sim(http, clock)


@pytest.fixture
def plain(http: httpx.AsyncClient, clock: Clock) -> Sim:
    """The plain server."""
    return Sim(http, clock, plain=True, scope="read write")
