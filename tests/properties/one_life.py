"""One life at one simulated provider, over a real vault and the real activities, driven from outside any event loop."""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from activities.deps import Deps
from activities.ids import ids_of
from activities.life import LifeActivities
from activities.messages import AttemptOrder, AttemptResult, Ending, RefreshOrder, RefreshResult, RevokeResult
from domain.life import Kind
from domain.points import Point
from simulator.reports import token_report
from tests.activities.conftest import SECRET, Stage, known_providers, staged
from tests.conftest import Clock
from vault import configs, credentials, reading
from vault.crypto import Sealer
from vault.database import Database
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.lives import get_life
from vault.tables import Life, ProviderConfig

T = TypeVar("T")
SENDING = "sending"
"""The one place that is no point of ours: the request is on its way and the provider has not read it."""
TOKEN_PATHS = {"jira": "/oauth/token", "plain": "/plain/token"}
TOKEN_ENDPOINTS = {"jira": "token", "plain": "plain.token"}

Step = Callable[[], Awaitable[Any]]


class Killed(BaseException):
    """The worker dies here; no code of ours may catch it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the vault holds of a life: `generation` is the current credential's, None where its secret is destroyed."""

    row: Life
    generation: int | None
    secrets: credentials.Secrets | None
    held_until: datetime | None


class OneLife:
    """What can happen to a life, and what the provider knows of it.

    `heard` is the generation its workflow has heard of: older than the row's after a crash.
    """

    def __init__(self, template: Path, provider: str) -> None:
        self.provider = provider
        self.secret = SECRET
        self._secrets = 0
        self.heard = 0
        self.clock = Clock(datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
        self._folder = tempfile.TemporaryDirectory()
        self._path = shutil.copy(template, Path(self._folder.name, "vault.db"))
        # With a factory of its own the runner leaves the thread's event loop alone, which is pytest's.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._open = AsyncExitStack()
        self.stage: Stage = self.run(self._staged())
        self.life: Life = self.run(self._new_life())

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(step)

    def close(self) -> None:
        self.run(self._open.aclose())
        self._runner.close()
        self._folder.cleanup()

    async def _staged(self) -> Stage:
        db = Database.open(f"sqlite+aiosqlite:///{self._path}")
        self._open.push_async_callback(db.close)
        sealer = Sealer(Keys(SqlKeyStore(db), KeyRing({"test": bytes(range(32))}, active="test"), self.clock))
        return await self._open.enter_async_context(staged(db, sealer, self.clock, known_providers()))

    async def _new_life(self) -> Life:
        kind = Kind.INSTALLATION if self.provider == "jira" else Kind.CONNECTION
        return await self.stage.connected(kind, self.provider)

    async def install_anew(self) -> None:
        """The row of the deleted life stays; the same owner gets another one."""
        self.heard = 0
        self.life = await self._new_life()

    # --- what our side does -------------------------------------------------------------------------------------

    async def refresh(self, at: str | None = None, meanwhile: Step | None = None) -> RefreshResult | None:
        """Refresh what the workflow knows; None: killed. `meanwhile` happens once, at that place."""
        order = RefreshOrder(ids_of(self.life), self.heard)
        result = await self._interrupted(lambda deps: LifeActivities(deps).refresh(order), at, meanwhile)
        if result is not None and result.credential is not None:
            self.heard = max(self.heard, result.credential.generation)
        if result is not None and result.ending is Ending.RELOAD:
            await self.load()
        return result

    async def load(self) -> None:
        loaded = await LifeActivities(self.stage.deps).load(ids_of(self.life))
        if loaded.credential is not None:
            self.heard = max(self.heard, loaded.credential.generation)

    async def come_back(self, person: str = "admin", sites: Sequence[str] = ("Acme Engineering",)) -> str:
        """A browser has come back with a code; answers the session's id."""
        return (await self.stage.come_back(self.life, person, sites)).id

    async def advance(
        self, session_id: str, at: str | None = None, meanwhile: Step | None = None
    ) -> AttemptResult | None:
        order = AttemptOrder(ids_of(self.life), session_id)
        return await self._interrupted(lambda deps: LifeActivities(deps).advance_attempt(order), at, meanwhile)

    async def consent(self) -> AttemptResult | None:
        return await self.advance(await self.come_back())

    async def entomb(self) -> None:
        await self.stage.entomb(self.life)

    async def revoke(self) -> RevokeResult:
        return await LifeActivities(self.stage.deps).revoke(ids_of(self.life))

    async def _interrupted(
        self, do: Callable[[Deps], Awaitable[T]], at: str | None, meanwhile: Step | None
    ) -> T | None:
        left = [meanwhile] if meanwhile else []

        async def reached(point: Point, _life_id: str) -> None:
            if point == at and left:
                await left.pop()()

        async def on_send(path: str) -> None:
            if at == SENDING and path == TOKEN_PATHS[self.provider] and left:
                await left.pop()()

        self.stage.wire.on_send = on_send
        try:
            return await do(replace(self.stage.deps, reached=reached))
        except Killed:
            return None
        finally:
            self.stage.wire.on_send = None

    # --- what others do -----------------------------------------------------------------------------------------

    async def killed(self) -> None:
        raise Killed

    async def withdraw(self) -> None:
        """The user takes the consent back: nothing of the grant works any more."""
        report = self.refresh_token_report(await self.secrets())
        if report["known"]:
            await self.stage.ask("POST", f"grants/{report['grant_id']}/revoke")

    async def change_password(self) -> None:
        await self.stage.ask("POST", "accounts/admin/change-password")

    async def break_secret(self) -> None:
        """The app's secret is replaced at the provider, and nobody tells us."""
        self._secrets += 1
        self.secret = f"only-the-provider-knows-{self._secrets}"
        await self.stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret=self.secret)

    async def mend_secret(self) -> None:
        config = self.stage.configs[self.provider]
        deps = self.stage.deps
        await configs.change(deps.db, deps.sealer, "default", config.id, self.clock.now, client_secret=self.secret)

    async def trouble(self, kind: str, **more: Any) -> None:
        await self.stage.fault(TOKEN_ENDPOINTS[self.provider], kind, **more)

    async def trouble_refreshing(self, kind: str, **more: Any) -> None:
        await self.trouble(kind, grant_type="refresh_token", **more)

    async def no_more_trouble(self) -> None:
        await self.stage.ask("DELETE", "faults")

    # --- what is true -------------------------------------------------------------------------------------------

    async def row(self) -> Life:
        return await self.stage.row(self.life)

    async def standing(self) -> "Standing":
        """The rows of one moment, and the opened current credential: it always opens."""
        async with self.stage.deps.db.reading() as tx:
            row = await get_life(tx, self.life.id)
            credential = await credentials.current(tx, self.life.id)
            config = await tx.get(ProviderConfig, self.life.provider_config_id)
        assert row is not None
        assert config is not None
        sealer = self.stage.deps.sealer
        secrets = await credentials.open_secrets(sealer, self.life, credential) if credential else None
        return Standing(row, credential.generation if credential else None, secrets, config.held_until)

    async def opened(self, found: reading.Found) -> str:
        return await reading.open_access(self.stage.deps.sealer, found)

    async def secrets(self) -> credentials.Secrets | None:
        return (await self.standing()).secrets

    async def found(self, life_id: str) -> reading.Found | None:
        """What a reader gets of a life, by either way of asking."""
        wanted = reading.Wanted("default", self.provider, "acme", (Kind.INSTALLATION,))
        if self.provider != "jira":
            wanted = replace(wanted, kinds=(Kind.CONNECTION,), user_id="ann")
        listed = {found.id: found for found in await reading.find(self.stage.deps.db, wanted)}
        one = await reading.find_one(self.stage.deps.db, life_id)
        assert listed.get(life_id) == one
        return one

    def refresh_token_report(self, secrets: credentials.Secrets | None) -> dict[str, Any]:
        return self._report("refresh", secrets.refresh if secrets else None)

    def access_token_report(self, secrets: credentials.Secrets | None) -> dict[str, Any]:
        return self._report("access", secrets.access if secrets else None)

    def _report(self, kind: str, token: str | None) -> dict[str, Any]:
        return token_report(self._world, hashlib.sha256((token or "").encode()).hexdigest(), kind)

    @property
    def _world(self) -> Any:
        return self.stage.wire.app.state.world

    def death_of(self, report: dict[str, Any]) -> str:
        """Why a refresh token will never be accepted again; empty while it may be."""
        grant = self._world.state.grants[report["grant_id"]]
        ended = {"ended": grant.revoked or grant.families[report["family_id"]].ended, "expired": "expired"}
        return str(ended.get(report["would_be"]) or "")

    def window(self) -> timedelta:
        return timedelta(seconds=self.stage.deps.catalog[self.provider].replay_window)
