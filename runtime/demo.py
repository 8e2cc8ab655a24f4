"""`authpipe demo`: a whole life in under a minute, each step checked; exit code 1 if one is not as it should be."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console

from runtime.demo_setup import CALLBACK_PATH, PROVIDER
from runtime.demo_stack import DemoStack, demo_stack
from runtime.demo_visitor import Astray, Visitor
from runtime.settings import load_settings

TOKEN_SECONDS = 10
REFRESHES = 3
TENANT, USER = "acme", "user-1"
SITE = "Acme Engineering"
POLL_SECONDS = 0.25

Json = dict[str, Any]


class Wrong(Exception):
    """A step is not as it should be."""


class Demo:
    """One walk. Each step does its part, checks it, and says what happened in one line."""

    def __init__(self, stack: DemoStack, console: Console) -> None:
        self._stack = stack
        self._console = console
        headers = {"authorization": f"Bearer {stack.secret_key}"}
        self._api = httpx.AsyncClient(base_url=stack.api, headers=headers, timeout=30)
        self._provider = httpx.AsyncClient(base_url=stack.simulator, timeout=30)
        self._client_id = f"demo-{secrets.token_hex(4)}"
        self._config_id = ""
        self._callback = stack.api.replace("127.0.0.1", "localhost") + CALLBACK_PATH
        self._ids: dict[str, str] = {}
        self._token: Json = {}

    async def run(self) -> None:
        steps: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
            ("register an app", self._register),
            ("install", self._install),
            ("connect a user", self._connect),
            ("fetch the credential", self._fetch),
            (f"{REFRESHES} refreshes", self._refreshes),
            ("call the provider", self._call),
            ("revoke there", self._revoke),
            ("noticed", self._notice),
            ("authorise again", self._again),
            ("delete", self._delete),
        )
        try:
            for number, (name, step) in enumerate(steps, 1):
                began = time.monotonic()
                said = await step()
                self._console.print(f"{number:2}. {name:<22}{said}  [dim]{time.monotonic() - began:.2f} s[/dim]")
        finally:
            await self._clean_up()

    async def _register(self) -> str:
        """An app of its own, so that only its tokens are short-lived."""
        app = {"client_id": self._client_id, "token_lifetime": TOKEN_SECONDS}
        secret = (await self._ask(self._provider.post("/_admin/apps", json=app)))["client_secret"]
        config = {
            "provider_id": PROVIDER,
            "client_id": self._client_id,
            "client_secret": secret,
            "oauth_redirect_url": self._callback,
            "attachment": "user",
            "enabled": True,
        }
        self._config_id = (await self._ask(self._api.post("/api/provider-configs", json=config), 201))["id"]
        return f"{self._client_id}, tokens live {TOKEN_SECONDS} s; config {self._config_id}"

    async def _install(self) -> str:
        said = await self._consent("/oauth/installs", {"tenant_id": TENANT}, "admin")
        self._ids["installation"] = said["installation_id"]
        return f"{said['installation_id']} on {SITE}"

    async def _connect(self) -> str:
        said = await self._consent("/oauth/sessions", {"tenant_id": TENANT, "user_id": USER}, "member")
        self._ids["connection"] = said["connection_id"]
        return f"{said['connection_id']} for {USER}"

    async def _fetch(self) -> str:
        began = time.monotonic()
        self._token = await self._credential()
        took = (time.monotonic() - began) * 1000
        return f"{masked(self._token['credential'])} valid for {self._left():.1f} s, answered in {took:.0f} ms"

    async def _refreshes(self) -> str:
        """Read all the while: every answer must be valid, and every generation newer than the one before."""
        first, reads, least = self._token["generation"], 0, float(TOKEN_SECONDS)
        deadline = time.monotonic() + TOKEN_SECONDS * (REFRESHES + 1)
        while self._token["generation"] < first + REFRESHES:
            require(time.monotonic() < deadline, "the refreshes did not come in time")
            await asyncio.sleep(POLL_SECONDS)
            before, self._token = self._token, await self._credential()
            require(self._token["generation"] >= before["generation"], "a read went back a generation")
            reads, least = reads + 1, min(least, self._left())
        grant = await self._grant("member")
        require(grant["counters"]["refreshes"] == REFRESHES, f"the provider counted {grant['counters']}")
        return f"{reads} reads meanwhile, never less than {least:.1f} s left; the provider counted {REFRESHES}"

    async def _call(self) -> str:
        headers = {"authorization": f"Bearer {self._token['credential']}"}
        base = f"/ex/jira/{self._token['site']['id']}/rest/api/3"
        me = await self._ask(self._provider.get(f"{base}/myself", headers=headers))
        found = await self._ask(self._provider.get(f"{base}/search/jql", headers=headers, params={"jql": "project=A"}))
        return f"account {me['accountId'][:12]}…, {len(found['issues'])} issues found"

    async def _revoke(self) -> str:
        grant = await self._grant("member")
        await self._ask(self._provider.post(f"/_admin/grants/{grant['id']}/revoke"))
        return "as the user would, in the provider's own settings"

    async def _notice(self) -> str:
        began = time.monotonic()
        life = await self._until("connection", lambda row: row["status"] == "needs_reauth")
        refused = await self._api.post("/api/credentials", json=self._whose())
        require(refused.status_code == 409, f"a dead credential was answered with {refused.status_code}")
        return f"{life['reason']} after {time.monotonic() - began:.1f} s; readers get 409 {refused.json()['code']}"

    async def _again(self) -> str:
        said = await self._consent("/oauth/sessions", {"tenant_id": TENANT, "user_id": USER}, "member")
        require(said["connection_id"] == self._ids["connection"], "the connection got another id")
        before, self._token = self._token, await self._credential()
        require(self._token["generation"] > before["generation"], "the generation did not grow")
        return f"same id, generation {before['generation']} → {self._token['generation']}"

    async def _delete(self) -> str:
        """Deleting the installation ends the connection inside it."""
        answer = await self._api.delete(f"/api/installations/{self._ids['installation']}")
        require(answer.status_code == 204, f"deleting answered {answer.status_code}")
        gone = await self._api.post("/api/credentials", json=self._whose())
        require(gone.status_code == 404, f"a deleted credential was answered with {gone.status_code}")
        life = await self._until("connection", lambda row: row.get("upstream", "pending") != "pending")
        await self._until("installation", lambda row: row.get("upstream", "pending") != "pending")
        require(life["status"] == "revoked", f"the connection is {life['status']}")
        return f"installation and connection; upstream: {life['upstream']}; readers get 404 {gone.json()['code']}"

    async def _consent(self, path: str, whom: Json, person: str) -> dict[str, str]:
        body = {"provider": PROVIDER, "provider_config_id": self._config_id, "redirect_url": self._callback, **whom}
        opened = await self._ask(self._api.post(path, json=body), 201)
        visitor = Visitor()
        try:
            back = await visitor.walk(opened["authorization_url"], person, [SITE])
        finally:
            await visitor.close()
        require(back.said.get("status") == "completed", f"the consent ended as {back.said}")
        return back.said

    async def _credential(self) -> Json:
        token = await self._ask(self._api.post("/api/credentials", json=self._whose()))
        self._token = token
        require(self._left() > 0, "an expired credential was handed out")
        return token

    def _whose(self) -> Json:
        return {
            "provider": PROVIDER,
            "provider_config_id": self._config_id,
            "tenant_id": TENANT,
            "user_id": USER,
        }

    def _left(self) -> float:
        return (datetime.fromisoformat(self._token["expires_at"]) - datetime.now(UTC)).total_seconds()

    async def _until(self, kind: str, reached: Callable[[Json], bool]) -> Json:
        deadline = time.monotonic() + TOKEN_SECONDS * 2
        while True:
            row = await self._ask(self._api.get(f"/api/{kind}s/{self._ids[kind]}"))
            if reached(row):
                return row
            require(time.monotonic() < deadline, f"the {kind} stayed {row['status']}")
            await asyncio.sleep(POLL_SECONDS)

    async def _grant(self, person: str) -> Json:
        params = {"client_id": self._client_id, "person": person}
        grants = (await self._provider.get("/_admin/grants", params=params)).json()
        require(len(grants) == 1, f"the provider knows {len(grants)} grants of {person}")
        grant: Json = grants[0]
        return grant

    async def _ask(self, asked: Awaitable[httpx.Response], status: int = 200) -> Json:
        answer = await asked
        require(answer.status_code == status, f"{answer.request.url.path} answered {answer.status_code}: {answer.text}")
        body: Json = answer.json()
        return body

    async def _clean_up(self) -> None:
        if self._config_id:
            await self._api.delete(f"/api/provider-configs/{self._config_id}", params={"cascade": "true"})
        await self._provider.delete(f"/_admin/apps/{self._client_id}")
        await self._api.aclose()
        await self._provider.aclose()


def masked(secret: str) -> str:
    """Enough to tell two credentials apart by eye, too little to use one."""
    return f"{secret[:4]}…{secret[-4:]}"


def require(held: bool, otherwise: str) -> None:
    """Raises `Wrong` with what should not have been."""
    if not held:
        raise Wrong(otherwise)


def main() -> int:
    """Entry of `authpipe demo`; answers the exit code."""
    return asyncio.run(_main())


async def _main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    try:
        async with demo_stack(load_settings(env="development")) as stack:
            where = "a stack of its own" if stack.own else "the running stack"
            console.print(f"Authpipe demo on {where}: API {stack.api}, Temporal UI {stack.temporal_ui}")
            await Demo(stack, console).run()
    except (Wrong, Astray, httpx.HTTPError) as error:
        console.print(f"[bold red]not as it should be:[/] {type(error).__name__}: {error}")
        return 1
    console.print(f"All as it should be, in {time.monotonic() - began:.0f} s.")
    return 0
