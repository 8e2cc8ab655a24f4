"""A thousand connections: consented to at the provider, put into the vault, started by the product's own command."""

import asyncio
import base64
import hashlib
import html
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from domain.credential import CredentialRef
from domain.life import Kind, Status
from domain.schedule import refresh_at
from providers.catalog import load_catalog
from providers.model import ScopeKind
from tests.chaos.plan import NONE, WINDOW
from tests.chaos.stand import Stand
from tests.end_to_end.conftest import App
from vault import credentials
from vault.crypto import Sealer
from vault.grants import join_grant
from vault.ids import new_id
from vault.tables import Life

VERIFIER = "a" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
REQUEST_FIELD = re.compile(r'name="request" value="([^"]+)"')
AUTHORIZE = {WINDOW: "/authorize", NONE: "/plain/authorize"}
TOKEN = {WINDOW: "/oauth/token", NONE: "/plain/token"}
SITE = "Acme Engineering"
TENANTS = 40
FIRST_LIFE = (180, 300)
"""Seconds that first tokens live: until all are started, and spread, as connections of many days are."""
SHORT_LIFE = (90, 120)
EACH_SHARES = 25
"""Every so many connections, one has the account of the one before the last, at the same provider."""
AT_ONCE = 4
PLAIN_SCOPES = ["read", "write", "offline_access"]


@dataclass(frozen=True, slots=True)
class Seeded:
    """One connection, and what stands behind it at the provider."""

    life_id: str
    provider: str
    config_id: str
    tenant: str
    user: str
    grant: str
    family: str
    site: str


@dataclass(frozen=True, slots=True)
class Consented:
    """What a consent at the provider brought, without us."""

    tokens: dict[str, Any]
    account: str
    at: datetime
    grant: str
    family: str


class Sower:
    """Makes connections, a few at once; what it draws, it draws from the run's seed."""

    def __init__(self, stand: Stand, rng: Random, check_every: int, first_life: tuple[int, int]) -> None:
        self._stand = stand
        self._rng = rng
        self._check_every = check_every
        self._first_life = first_life
        self._sealer: Sealer = stand.sealer
        self._site: dict[str, Any] = {}
        jira = load_catalog(None, allow_loopback_http=True)[WINDOW]
        self._scopes = {WINDOW: [scope.id for scope in jira.scopes.of(ScopeKind.USER)], NONE: PLAIN_SCOPES}

    async def sow(self, count: int, first: int = 0) -> list[Seeded]:
        """Half of them at each provider, numbered from `first`."""
        accounts = await self._stand.admin("GET", "accounts")
        self._site = next(site for person in accounts for site in person["sites"] if site["name"] == SITE)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> Seeded:
            async with slots:
                return await self._connect(number)

        return list(await asyncio.gather(*map(one, range(first, first + count))))

    async def let_live(self, seeded: Sequence[Seeded], between: tuple[int, int]) -> None:
        """From now on each token that is given to them lives for so many seconds."""
        for one in seeded:
            await self._stand.admin("PATCH", f"grants/{one.grant}", token_lifetime=self._rng.randint(*between))

    async def _connect(self, number: int) -> Seeded:
        app = self._stand.apps[WINDOW if number % 2 == 0 else NONE]
        shares = number % EACH_SHARES == EACH_SHARES - 1
        consented = await self._consent(app, f"person-{number - 2 if shares else number}")
        life = self._life(app, consented, number)
        await self._keep(life, consented)
        return Seeded(
            life.id, app.provider, app.config_id, life.tenant_id, life.user_id,
            consented.grant, consented.family, life.site_id,
        )  # fmt: skip

    async def _consent(self, app: App, person: str) -> Consented:
        site = [SITE] if app.provider == WINDOW else []
        account = await self._stand.admin("PUT", f"accounts/{person}", sites=site)
        asked = {
            "response_type": "code",
            "client_id": app.client_id,
            "redirect_uri": self._stand.callback,
            "scope": " ".join(self._scopes[app.provider]),
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        if app.provider == WINDOW:
            asked |= {"audience": "api.atlassian.com", "prompt": "consent"}
        code = await self._decide(app, f"{AUTHORIZE[app.provider]}?{urlencode(asked)}", person, site)
        at = datetime.now(UTC)
        answer = await self._stand.simulator.post(TOKEN[app.provider], data=self._redeeming(app, code))
        answer.raise_for_status()
        digest = hashlib.sha256(answer.json()["access_token"].encode()).hexdigest()
        known = await self._stand.admin("GET", f"lookup?access_token_sha256={digest}")
        return Consented(answer.json(), account["account_id"], at, known["grant_id"], known["family_id"])

    async def _decide(self, app: App, url: str, person: str, sites: Sequence[str]) -> str:
        page = await self._stand.simulator.get(url)
        found = REQUEST_FIELD.search(page.text)
        assert found, page.text
        form = {
            "request": html.unescape(found[1]),
            "person": person,
            "site": list(sites),
            "decision": "allow",
            "token_lifetime": str(self._rng.randint(*self._first_life)),
        }
        back = await self._stand.simulator.post(AUTHORIZE[app.provider], data=form)
        return parse_qs(urlsplit(back.headers["location"]).query)["code"][0]

    def _redeeming(self, app: App, code: str) -> dict[str, str]:
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._stand.callback,
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "code_verifier": VERIFIER,
        }

    def _life(self, app: App, consented: Consented, number: int) -> Life:
        """The row as it stands after its consent."""
        now, ref = consented.at, _ref(consented)
        site = self._site if app.provider == WINDOW else {"id": "", "name": "", "url": ""}
        return Life(
            id=new_id("conn"),
            workspace_id="default",
            kind=Kind.CONNECTION,
            provider_id=app.provider,
            provider_config_id=app.config_id,
            tenant_id=f"tenant-{number % TENANTS}",
            user_id=f"user-{number}",
            attachment="user",
            site_id=site["id"],
            site_name=site["name"],
            site_url=site["url"],
            account_id=consented.account,
            status=Status.ACTIVE,
            generation=1,
            next_generation=2,
            requested_scopes=self._scopes[app.provider],
            granted_scopes=ref.scopes,
            issued_at=now,
            expires_at=ref.expires_at,
            connected_at=now,
            consented_at=now,
            created_at=now,
            updated_at=now,
            next_due_at=refresh_at(ref, 0.5),
            probe_at=now + timedelta(seconds=self._rng.uniform(30, self._check_every)),
        )

    async def _keep(self, life: Life, consented: Consented) -> None:
        ref = _ref(consented)
        secrets = credentials.Secrets(consented.tokens["access_token"], consented.tokens["refresh_token"])
        row = credentials.new_candidate(life, "", ref, await credentials.seal(self._sealer, life, 1, secrets))
        row.role = credentials.CURRENT
        async with self._stand.vault.transaction() as tx:
            life.grant_id = await join_grant(tx, life, life.account_id, ref.scopes, consented.at)
            tx.add(life)
            tx.add(row)


def _ref(consented: Consented) -> CredentialRef:
    expires_at = consented.at + timedelta(seconds=consented.tokens["expires_in"])
    return CredentialRef(1, consented.at, expires_at, True, consented.tokens["scope"].split())


async def start_all(stand: Stand) -> dict[str, Any]:
    """`authpipe reconcile`, as an operator would; its report. Tried again where the engine took too long."""
    command = (sys.executable, "-m", "runtime.cli", "reconcile", "--json")
    for _ in range(3):
        run = await asyncio.create_subprocess_exec(*command, env=stand.environment, stdout=asyncio.subprocess.PIPE)
        told, _ = await run.communicate()
        if run.returncode == 0:
            return dict(json.loads(told))
    raise AssertionError("`authpipe reconcile` did not start every connection")


async def seed(stand: Stand, count: int, rng: Random, check_every: int) -> list[Seeded]:
    """Make them and start them, each with short tokens; says how long each took."""
    began = time.monotonic()
    sower = Sower(stand, rng, check_every, FIRST_LIFE)
    seeded = await sower.sow(count)
    await sower.let_live(seeded, SHORT_LIFE)
    sown = time.monotonic()
    report = await start_all(stand)
    print(
        f"{count} connections consented to and put into the vault in {sown - began:.0f} s; started by "
        f"`authpipe reconcile` in {time.monotonic() - sown:.0f} s ({report['running']} running before it)"
    )
    return seeded
