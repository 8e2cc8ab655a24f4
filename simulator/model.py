"""What the simulated providers remember. No secret is kept: tokens, codes and client secrets by SHA-256."""

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

Server = Literal["atlassian", "plain"]
NAMESPACE = uuid.UUID("6f0b54d5-5d0a-4a3c-9a53-3a1a0b9d2c11")


def fingerprint(secret: str) -> str:
    """SHA-256 in hex: the only form in which a secret is stored, counted or reported."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(slots=True)
class App:
    """A registered OAuth client of both servers. Without a secret it is a public client."""

    client_id: str
    secret_sha256: str | None
    redirect_uris: list[str] = field(default_factory=list)
    rules: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Site:
    """A Jira site; `id` is its cloud id."""

    id: str
    name: str
    url: str


@dataclass(slots=True)
class Person:
    """Someone who can sign in, named by role only; `sites` are the ids of the sites they reach."""

    role: str
    account_id: str
    sites: list[str]


@dataclass(slots=True)
class Family:
    """All tokens that descend from one consent.

    `ended` says why its refresh tokens no longer work; its access tokens live out their time unless
    `access_ended`. `unused` are the fingerprints of its refresh tokens that were never presented, and
    `expires_at` is when the last of its codes and access tokens expires.
    """

    id: str
    sites: list[str]
    offline: bool
    created_at: float
    ended: str | None = None
    access_ended: bool = False
    unused: list[str] = field(default_factory=list)
    expires_at: float = 0


@dataclass(slots=True)
class Grant:
    """What the provider recorded: the consent of one account to one app."""

    id: str
    server: Server
    client_id: str
    account_id: str
    created_at: float
    scopes: list[str] = field(default_factory=list)
    sites: list[str] = field(default_factory=list)
    families: dict[str, Family] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    revoked: str | None = None
    counters: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1


@dataclass(slots=True)
class Code:
    grant_id: str
    family_id: str
    redirect_uri: str
    challenge: str | None
    expires_at: float
    used: bool = False


@dataclass(slots=True)
class RefreshToken:
    """`rotated_at` is the time of its *first* use, from which the replay window counts."""

    grant_id: str
    family_id: str
    issued_at: float
    rotated_at: float | None = None


@dataclass(slots=True)
class AccessToken:
    grant_id: str
    family_id: str
    expires_at: float
    revoked: bool = False


@dataclass(slots=True)
class Fault:
    """One misbehaviour on request; see `simulator.faults` for the kinds."""

    id: str
    endpoint: str
    kind: str
    times: int | None = 1
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    after: bool = False
    grant_type: str | None = None
    client_id: str | None = None


@dataclass(slots=True)
class State:
    """Everything that survives a restart. Secrets are the keys of the dicts, as fingerprints."""

    apps: dict[str, App] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    refresh_tokens: dict[str, RefreshToken] = field(default_factory=dict)
    access_tokens: dict[str, AccessToken] = field(default_factory=dict)
    uses: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    rules: dict[str, Any] = field(default_factory=dict)
    clock_offset: float = 0


def new_site(name: str) -> Site:
    """The site of that name: its id and address follow from the name, so they survive a reset."""
    slug = "-".join(name.lower().split())
    return Site(str(uuid.uuid5(NAMESPACE, f"site/{name}")), name, f"https://{slug}.atlassian.net")


def new_person(role: str, sites: list[Site]) -> Person:
    """A person of that role, with an opaque account id in the form that Atlassian gives."""
    return Person(role, f"712020:{uuid.uuid5(NAMESPACE, f'person/{role}')}", [site.id for site in sites])


def first_state(app: App) -> State:
    """The world as it is at first start and after a reset."""
    engineering, support, other = map(new_site, ("Acme Engineering", "Acme Support", "Other Company"))
    people = (
        new_person("admin", [engineering, support]),
        new_person("member", [engineering]),
        new_person("outsider", [other]),
        new_person("nosite", []),
    )
    return State(
        apps={app.client_id: app},
        sites={site.id: site for site in (engineering, support, other)},
        people={person.role: person for person in people},
    )
