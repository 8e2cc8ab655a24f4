"""The running world: state, clock, rules in force, and the file that keeps it."""

import os
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from pydantic import TypeAdapter

from simulator.model import App, Family, Grant, Person, Server, Site, State, fingerprint, first_state
from simulator.settings import Rules, SimulatorSettings
from simulator.webhooks import Sender

_STATE = TypeAdapter(State)
_PENDING_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A checked authorization request that waits for a person's decision (RFC 6749 section 4.1.1)."""

    server: Server
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    challenge: str | None


class World:
    """All there is, in memory. Handlers run on one event loop and do not await while they change it."""

    def __init__(self, settings: SimulatorSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._clock = clock
        self._base_rules = settings.rules
        self.pending: dict[str, AuthorizationRequest] = {}
        self.webhooks = Sender()
        self.state = _load(settings.state) or self._first_state()

    def _first_state(self) -> State:
        settings = self.settings
        return first_state(App(settings.client_id, fingerprint(settings.client_secret), list(settings.redirect_uris)))

    def reset(self) -> None:
        self.state = self._first_state()
        self.pending.clear()
        self.webhooks.receiver = None

    def now(self) -> float:
        """Seconds since the epoch, as this world sees it: its clock plus what an admin shifted it by."""
        return self._clock() + self.state.clock_offset

    def unshifted(self) -> float:
        """The same without the shift: for what is compared with the clock of a program outside."""
        return self._clock()

    def rules(self, app: App | None = None, grant: Grant | None = None) -> Rules:
        """The rules in force for an app and a grant: the narrower layer wins."""
        layers = {**self.state.rules, **(app.rules if app else {}), **(grant.rules if grant else {})}
        return self._base_rules.changed(layers) if layers else self._base_rules

    def grant_rules(self, grant: Grant) -> Rules:
        return self.rules(self.state.apps.get(grant.client_id), grant)

    def person_of(self, account_id: str) -> Person | None:
        return next((p for p in self.state.people.values() if p.account_id == account_id), None)

    def site_named(self, id_or_name: str) -> Site | None:
        by_name = (site for site in self.state.sites.values() if site.name == id_or_name)
        return self.state.sites.get(id_or_name) or next(by_name, None)

    def reachable_sites(self, grant: Grant, family: Family) -> list[Site]:
        """The sites a token of that family reaches: consented to, and the account still has access."""
        consented = family.sites if self.grant_rules(grant).grant_level == "resource" else grant.sites
        person = self.person_of(grant.account_id)
        theirs = person.sites if person else []
        return [s for s in self.state.sites.values() if s.id in consented and s.id in theirs]

    def remember(self, request: AuthorizationRequest) -> str:
        """Keep a request until it is decided; the oldest are forgotten when there are too many."""
        while len(self.pending) >= _PENDING_AT_MOST:
            self.pending.pop(next(iter(self.pending)))
        request_id = uuid.uuid4().hex
        self.pending[request_id] = request
        return request_id

    def used(self, secret: str, outcome: str) -> None:
        """Count one presentation of a token or code, known or not, under its fingerprint."""
        uses = self.state.uses.setdefault(fingerprint(secret), {})
        uses[outcome] = uses.get(outcome, 0) + 1

    def save(self) -> None:
        """Write the state file, atomically, before the answer that depends on it leaves."""
        if self.settings.state is not None:
            _write(self.settings.state, _STATE.dump_json(self.state))


def world_of(request: Request) -> World:
    world: World = request.app.state.world
    return world


def _load(path: Path | None) -> State | None:
    if path is None or not path.exists():
        return None
    return _STATE.validate_json(path.read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(name).replace(path)
