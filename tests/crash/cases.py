"""Lives on their way to a crash point, and how each of them came out."""

import asyncio
import contextlib
import hashlib
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Any

import httpx

from runtime.demo_visitor import Astray, Return, Visitor
from tests.crash.stack import NONE, WINDOW, HoldingStack
from tests.crash.table import EXCHANGE_SENDING, REFRESH_SENDING, SENDINGS, Cell, Ending, Fault
from tests.end_to_end.conftest import App

TENANT = "t"
PERSON = "admin"
SITES = ("Acme Engineering",)
FIRST_LIFETIME = {True: 60, False: 40}
"""Seconds, with a window and without: the one must not expire before the stack has recovered, the other is awaited."""
NEXT_LIFETIME = 3600
# A generation younger than 10 % of its life is not refreshed, however one asks.
OLD_ENOUGH = 0.1
MARGIN = timedelta(seconds=0.5)


class Case(ABC):
    """One cell at work: a life with an app of its own, so that no other case has a part in its grant."""

    def __init__(self, cell: Cell, stack: HoldingStack, withhold: float) -> None:
        self.cell, self.stack, self.withhold = cell, stack, withhold
        self.app: App
        self.life_id = ""
        self.complaints: list[str] = []
        self._under_way: asyncio.Task[Any] | None = None

    @property
    def sending(self) -> bool:
        return self.cell.point in SENDINGS

    @abstractmethod
    async def prepare(self) -> None:
        """Everything up to what leads to the point."""

    @abstractmethod
    async def _lead(self) -> None:
        """What leads to the point; its own outcome does not matter, for the fault may cut it off."""

    @abstractmethod
    async def ended(self) -> bool:
        """Whether the life has come to rest after the fault."""

    @abstractmethod
    async def ending(self) -> str:
        """How it came out, in the words of the table; anything else is a failure."""

    @abstractmethod
    async def lost(self) -> bool:
        """Whether we gave up, or cannot use, what the simulator says lives."""

    async def set_off(self) -> None:
        if self.sending:
            await self._spoil_the_sending()
        self._under_way = asyncio.create_task(self._quietly())

    async def _quietly(self) -> None:
        with contextlib.suppress(httpx.HTTPError, Astray):
            await self._lead()

    async def close(self) -> None:
        if self._under_way:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})

    async def _spoil_the_sending(self) -> None:
        kinds = {Fault.CUT_BEFORE: {"kind": "drop_before"}, Fault.CUT_AFTER: {"kind": "drop_after"}}
        withheld = {"kind": "delay", "seconds": self.withhold, "after": True}
        grant_type = "refresh_token" if self.cell.point == REFRESH_SENDING else "authorization_code"
        fault = {
            "endpoint": "token" if self.cell.window else "plain.token",
            "grant_type": grant_type,
            "client_id": self.app.client_id,
            **kinds.get(self.cell.fault, withheld),
        }
        (await self.stack.simulator.post("/_admin/faults", json=fault)).raise_for_status()

    async def held(self) -> bool:
        if not self.sending:
            return self.stack.held(self.cell.point, self.life_id)
        if self.cell.fault in {Fault.CUT_BEFORE, Fault.CUT_AFTER}:
            faults = (await self.stack.simulator.get("/_admin/faults")).json()
            return all(fault["client_id"] != self.app.client_id for fault in faults)
        counter = "exchanges" if self.cell.point == EXCHANGE_SENDING else "refreshes"
        return sum(grant["counters"][counter] for grant in await self.app.grants()) > 0

    def let_go(self) -> None:
        self.stack.let_go(self.cell.point, self.life_id)

    async def read(self) -> httpx.Response:
        return await self.app.read(TENANT)

    async def alive(self) -> bool:
        return any(grant["alive"] for grant in await self.app.grants())

    async def usable(self) -> bool:
        """Whether what we serve is what the provider accepts."""
        read = await self.read()
        if read.status_code != 200:
            return False
        key = hashlib.sha256(read.json()["credential"].encode()).hexdigest()
        return (await self.stack.simulator.get("/_admin/lookup", params={"access_token_sha256": key})).json()["valid"]

    async def seen(self) -> dict[str, Any]:
        """What an operator is shown."""
        return (await self.stack.api.get(f"/api/installations/{self.life_id}")).json()

    async def heard(self) -> bool:
        """Whether the life's workflow itself says what the vault serves, and when it will refresh that."""
        seen, read = await self.seen(), await self.read()
        if not seen.get("live") or seen["status"] != "active" or read.status_code != 200:
            return False
        due = datetime.fromisoformat(seen["next_refresh_at"])
        return seen["token_expires_at"] == read.json()["expires_at"] and due > datetime.now(due.tzinfo)

    async def new_app(self, **rules: Any) -> App:
        return await self.stack.app(WINDOW if self.cell.window else NONE, **rules)

    @property
    def sites(self) -> tuple[str, ...]:
        return SITES if self.cell.window else ()


class RefreshCase(Case):
    """A connected life whose first refresh meets the fault; the token that brings lives for an hour."""

    first: dict[str, Any]

    async def prepare(self) -> None:
        self.app = await self.new_app(token_lifetime=FIRST_LIFETIME[self.cell.window])
        await self.app.consent("/oauth/installs", PERSON, self.sites, tenant_id=TENANT)
        self.first = (await self.read()).json()
        self.life_id = self.first["installation_id"]
        (grant,) = await self.app.grants()
        await self.stack.simulator.patch(f"/_admin/grants/{grant['id']}", json={"token_lifetime": NEXT_LIFETIME})
        if not self.sending:
            self.stack.ask(self.cell.point, self.life_id)

    async def _lead(self) -> None:
        lifetime = timedelta(seconds=FIRST_LIFETIME[self.cell.window])
        old_enough = self.expires - lifetime * (1 - OLD_ENOUGH) + MARGIN
        await asyncio.sleep(max(0.0, (old_enough - datetime.now(old_enough.tzinfo)).total_seconds()))
        await self.app.read(TENANT, force_refresh=True)

    @property
    def expires(self) -> datetime:
        return datetime.fromisoformat(self.first["expires_at"])

    async def watch(self) -> None:
        """Note every answer that a caller must never get: a living token withheld, a generation that goes back."""
        read = await self.read()
        if read.status_code >= 500:
            return  # the vault is away, or the refresh is under way: neither is an ending
        early = datetime.now(self.expires.tzinfo) < self.expires
        if early and (read.status_code != 200 or read.json().get("needs_reauth")):
            self.complaints.append(f"withheld before expiry: {read.status_code}")
        if read.status_code == 200 and read.json()["generation"] < self.first["generation"]:
            self.complaints.append("went back a generation")

    async def ended(self) -> bool:
        read = await self.read()
        newer = read.status_code == 200 and read.json()["generation"] > self.first["generation"]
        return read.status_code == 409 or (newer and await self.heard())

    async def ending(self) -> str:
        if self.complaints:
            return self.complaints[0]
        read, sends = await self.read(), await self.sends()
        if read.status_code == 409:
            reason, refused = (await self.seen()).get("reason"), sends == {"rotated": 1, "reused": 1}
            return Ending.ROTATION_LOST if reason == "rotation_lost" and refused else f"{reason} after {sends}"
        if read.status_code != 200 or not await self.usable():
            return f"no usable credential ({read.status_code}) after {sends}"
        if read.json()["installation_id"] != self.life_id:
            return "another life"
        if sends == {"rotated": 1}:
            return Ending.AFTER_EXPIRY if await self._sent_late(read.json()) else Ending.GOES_ON
        return Ending.SENT_AGAIN if sends == {"rotated": 1, "replayed": 1} else f"goes on after {sends}"

    async def sends(self) -> dict[str, int]:
        """What came of presenting the first refresh token, by outcome."""
        (grant,) = await self.app.grants()
        report = (await self.stack.simulator.get(f"/_admin/grants/{grant['id']}")).json()
        first = next(token for token in report["tokens"] if token["kind"] == "refresh")
        return first["outcomes"]

    async def _sent_late(self, credential: dict[str, Any]) -> bool:
        """An expiry counts from the moment before sending, so it tells that moment."""
        sent = datetime.fromisoformat(credential["expires_at"]) - timedelta(seconds=NEXT_LIFETIME)
        return sent >= self.expires

    async def lost(self) -> bool:
        return await self.alive() and not await self.usable()


class ConsentCase(Case):
    """A first consent whose exchange or callback meets the fault."""

    session_id = ""
    callback = ""

    def __init__(self, cell: Cell, stack: HoldingStack, withhold: float) -> None:
        super().__init__(cell, stack, withhold)
        self.visitor = Visitor()

    async def prepare(self) -> None:
        self.app = await self.new_app()
        opened = await self.app.open("/oauth/installs", tenant_id=TENANT)
        self.session_id = opened["session_id"]
        self.life_id = await self.stack.life_of(self.session_id)
        consent = await self.visitor.open(opened["authorization_url"])
        self.callback = await self.visitor.decide(consent, PERSON, self.sites)
        if not self.sending:
            self.stack.ask(self.cell.point, self.life_id)

    async def _lead(self) -> None:
        await self.visitor.come_back(self.callback)

    async def close(self) -> None:
        await super().close()
        await self.visitor.close()

    async def _outcome(self) -> dict[str, Any]:
        return (await self.stack.api.get(f"/oauth/sessions/{self.session_id}")).json()

    async def ended(self) -> bool:
        status = (await self._outcome()).get("status")
        return status == "failed" or (status == "completed" and await self.heard())

    async def ending(self) -> str:
        outcome = await self._outcome()
        if outcome["status"] == "completed":
            return Ending.CONNECTED if await self.usable() else "completed, and no usable credential"
        sent = sum(grant["counters"]["exchanges"] + grant["counters"]["refused"] for grant in await self.app.grants())
        if outcome.get("reason") != "exchange_unknown" or sent > 1:
            return f"{outcome.get('reason')} after {sent} sends"
        self.session_id = (await self._consent_again()).said["session_id"]
        # The browser waits eight seconds for the outcome, and then leads on without it.
        await self.stack.until(self.ended)
        connected = (await self._outcome())["status"] == "completed" and await self.usable()
        return Ending.UNKNOWN if connected else "no way on"

    async def _consent_again(self) -> Return:
        return (await self.app.consent("/oauth/installs", PERSON, self.sites, tenant_id=TENANT))[1]

    async def lost(self) -> bool:
        """Only what was connected can be lost; a code whose exchange is unknown never was."""
        completed = (await self._outcome())["status"] == "completed"
        return completed and await self.alive() and not await self.usable()


def case_of(cell: Cell, stack: HoldingStack, withhold: float) -> Case:
    return (RefreshCase if cell.point.startswith("refresh.") else ConsentCase)(cell, stack, withhold)
