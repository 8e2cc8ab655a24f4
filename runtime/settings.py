"""Every setting of the server: read once from the environment, then passed down as one frozen value."""

import difflib
import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableSetting

from domain.addresses import parse_networks
from runtime.database_url import LONGEST_LABEL, read_database_url
from runtime.errors import SettingsError
from runtime.pace import STARTS_PER_SECOND
from runtime.rates import CALLS_PER_SECOND, PROBE_SHARE

PREFIX = "AUTHPIPE_"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")

Port = Annotated[int, Field(ge=1, le=65535)]
Days = Annotated[int, Field(ge=1, le=3650)]


def _host(host: str) -> str:
    """An address or a name, in the letters that DNS knows: anything else breaks in whoever looks it up."""
    if not HOST.fullmatch(host) or any(len(label) > LONGEST_LABEL for label in host.split(".")):
        raise ValueError("must be an address or a host's name, such as 0.0.0.0 or localhost")
    return host


def _origin(url: str) -> str:
    """Accept `https://host[:port]`, or plain http on this machine; anything longer is no origin."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL such as https://auth.example.com")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("plain http is for this machine only (localhost); use https")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("must name a port from 0 to 65535, or none") from None
    if parts.path.rstrip("/") or parts.query or parts.fragment or parts.username:
        raise ValueError("must end after the host and port, without a path")
    return url.rstrip("/")


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _listening_address(text: str) -> str:
    """Accept `127.0.0.1:9464` or `[::1]:9464`: what is listened on is an address of this machine, not a name."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if text and not (_is_address(bare, bracketed=bare != host) and port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError("must be an IP address and a port, such as 127.0.0.1:9464 or [::1]:9464")
    return text


def _is_address(host: str, *, bracketed: bool) -> bool:
    try:
        return (ip_address(host).version == 6) is bracketed
    except ValueError:
        return False


def _networks(text: str) -> str:
    parse_networks(text)
    return text


Origin = Annotated[str, AfterValidator(_origin)]
Folder = Annotated[Path, AfterValidator(_absolute)]


class Settings(BaseSettings):
    """The server's settings, one `AUTHPIPE_…` variable each. Build it with `load_settings`.

    Where Temporal is, is not among them: that is read from Temporal's own variables (`TEMPORAL_ADDRESS`, …).
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    env: Literal["production", "development"] = Field(
        "production", description="Production unless `authpipe dev` sets `development` for the parts it starts."
    )
    data_dir: Folder = Field(
        Path(".authpipe"),
        validate_default=True,
        description="Folder of the default database and, in development, of everything else that is kept.",
    )
    database_url: Annotated[str, AfterValidator(read_database_url)] = Field(
        default_factory=lambda data: f"sqlite+aiosqlite:///{data['data_dir']}/authpipe.db",
        repr=False,
        description="The vault: `sqlite:///file` or `postgresql://user:password@host/name`.",
    )
    database_url_file: Folder | None = Field(
        None, description="File that holds what `AUTHPIPE_DATABASE_URL` would hold, for its password's sake."
    )
    api_host: Annotated[str, AfterValidator(_host)] = Field("127.0.0.1", description="Address the API listens on.")
    api_port: Port = Field(8080, description="Port the API listens on.")
    temporal_port: Port = Field(7233, description="Port of Temporal on this machine, when no address is given.")
    temporal_ui_port: Port = Field(8233, description="Port of Temporal's web UI under `authpipe dev`.")
    simulator_port: Port = Field(9300, description="Port of the provider simulator under `authpipe dev`.")
    public_url: Origin = Field(
        default_factory=lambda data: f"http://localhost:{data['api_port']}",
        description="Origin under which browsers reach the API; https, except on this machine. Used by `authpipe dev` "
        "and the demo, for the config they make and the addresses they print.",
    )
    providers_dir: Folder | None = Field(None, description="Folder whose TOML files join the catalog of providers.")
    provider_origins: dict[str, Origin] = Field(
        default_factory=dict,
        description='JSON such as `{"some-provider": "http://127.0.0.1:9300"}`: the origin that stands in for '
        "the provider's own. Development only.",
    )
    key_encryption_key: SecretStr | None = Field(
        None,
        description="Key-encryption keys, `id:base64` of 32 bytes each, separated by commas; the first seals.",
    )
    key_encryption_key_file: Folder | None = Field(
        None, description="File that holds what `AUTHPIPE_KEY_ENCRYPTION_KEY` would hold, one key a line."
    )
    refresh_lease_seconds: int = Field(
        30, ge=5, le=30, description="Seconds one attempt at a token endpoint keeps others from sending."
    )
    provider_timeout_seconds: float = Field(
        15, gt=0, le=15, description="Seconds a provider has to answer; must be less than the lease."
    )
    session_minutes: int = Field(15, ge=1, le=120, description="Minutes from opening a session to its callback.")
    selection_minutes: int = Field(60, ge=1, le=1440, description="Minutes an installer has to pick a site.")
    verification_minutes: int = Field(
        30, ge=1, le=1440, description="Minutes the builder's backend has to confirm the user of a session."
    )
    reconcile_starts_per_second: float = Field(
        STARTS_PER_SECOND,
        gt=0,
        le=10_000,
        description="Workflows that reconciling starts or wakes in a second, at most.",
    )
    provider_calls_per_second: float = Field(
        CALLS_PER_SECOND,
        gt=0,
        le=10_000,
        description="Calls to one provider in a second, of all workers together, where its file does not say.",
    )
    probe_share: float = Field(
        PROBE_SHARE, gt=0, le=1, description="Share of that which check-ups may take, in each worker."
    )
    webhook_networks: Annotated[str, AfterValidator(_networks)] = Field(
        "",
        description="Private networks that webhook URLs may lead to, with plain http too: `10.20.0.0/16`, separated by "
        "commas. All others must be https and public.",
    )
    webhook_retry_days: float = Field(
        5, gt=0, le=30, description="Days for which an event that cannot be delivered is tried again."
    )
    keep_sessions_days: Days = Field(7, description="Days for which an ended session is kept, with its visits.")
    keep_ledger_days: Days = Field(30, description="Days for which an answered attempt at a token endpoint is kept.")
    keep_events_days: Days = Field(
        90, description="Days for which an event is kept, and longer only while it waits to be delivered."
    )
    keep_tombstones_days: Days = Field(
        30, description="Days for which what is deleted stays known, and `explain` tells."
    )
    worker_deployment: str = Field(
        "",
        pattern=r"^[\w-]*$",
        description="Name of the Worker Deployment whose versions the workers are: turns worker versioning on.",
    )
    worker_build_id: str = Field(
        "", pattern=r"^[\w.+-]*$", description="Version of the worker in it; every build has another one."
    )
    metrics_address: Annotated[str, AfterValidator(_listening_address)] = Field(
        "",
        description="Address and port, such as `127.0.0.1:9464`, at which a process shows its metrics to Prometheus. "
        "Each process needs its own; under `authpipe dev` the API takes this one and the worker the next port.",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`console` for people, `json` for machines; `auto` is json in production."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    pause_dir: Folder | None = Field(
        None, description="Folder whose files hold a process at a named point, for fault tests. Development only."
    )
    sandbox: bool = Field(
        False, description="Run workflows in Temporal's sandbox: slower, catches non-determinism early."
    )

    @field_validator("log_level", "log_format", "env", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _read_database_url(cls, given: dict[str, Any]) -> dict[str, Any]:
        file = given.get("database_url_file")
        if not file:
            return given
        if given.get("database_url"):
            raise _given_twice("database_url")
        try:
            url = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ValueError(f"{PREFIX}DATABASE_URL_FILE: cannot be read ({why})") from None
        return {**given, "database_url": url}

    @property
    def development(self) -> bool:
        return self.env == "development"

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.provider_origins and not self.development:
            raise ValueError(
                f"{PREFIX}PROVIDER_ORIGINS: is for development only; production talks to the providers themselves"
            )
        if self.pause_dir and not self.development:
            raise ValueError(f"{PREFIX}PAUSE_DIR: is for development only; it lets files stop a process")
        if self.key_encryption_key and self.key_encryption_key_file:
            raise _given_twice("key_encryption_key")
        if bool(self.worker_deployment) != bool(self.worker_build_id):
            raise ValueError(f"{PREFIX}WORKER_DEPLOYMENT: goes together with {PREFIX}WORKER_BUILD_ID; set both or none")
        if self.provider_timeout_seconds >= self.refresh_lease_seconds:
            raise ValueError(
                f"{PREFIX}PROVIDER_TIMEOUT_SECONDS: must be less than {PREFIX}REFRESH_LEASE_SECONDS "
                f"({self.refresh_lease_seconds})"
            )
        return self


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def _given_twice(field: str) -> ValueError:
    name = variable(field)
    return ValueError(f"{name}: is set together with {name}_FILE; keep one of them")


def load_settings(**given: Any) -> Settings:
    """Read the environment; what is `given` (by field name) wins over it.

    Raises `SettingsError`, one line for all that is wrong, without any value.
    """
    _refuse_unknown_names(os.environ)
    try:
        return Settings(**given)
    except ValidationError as error:
        # A default that is worked out of another setting is not wrong of itself.
        faults = [e for e in error.errors(include_input=False) if e["type"] != "default_factory_not_called"]
        raise SettingsError("; ".join(map(_complaint, faults))) from None
    except UnreadableSetting as error:
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "settings")
        raise SettingsError(f"{variable(field)}: cannot be read; give it as JSON") from None


def _refuse_unknown_names(names: Any) -> None:
    known = {variable(field) for field in Settings.model_fields}
    for name in sorted(n.upper() for n in names if n.upper().startswith(PREFIX)):
        if name not in known:
            nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0)
            raise SettingsError(f"{name}: there is no such setting; the nearest one is {nearest[0]}")


def _complaint(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    where = error["loc"]
    return f"{variable(str(where[0]))}: {message}" if where else str(message)
