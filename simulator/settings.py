"""What can be set: once at start by flag or `SIMULATOR_*`, later through the admin endpoint."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DAY = 86_400


class Rules(BaseModel):
    """How the servers behave. Layered: settings, then the admin endpoint, then the app, then the grant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_lifetime: int = Field(3600, ge=1, description="life of an access token, seconds")
    replay_window: float = Field(
        600, ge=0, description="seconds in which a rotated refresh token is still accepted (Atlassian only)"
    )
    code_lifetime: int = Field(600, ge=1, description="life of an authorization code, seconds")
    refresh_idle: int = Field(90 * DAY, ge=1, description="a refresh token unused this long expires, seconds")
    refresh_absolute: int | None = Field(
        None, ge=1, description="a token family this old expires, seconds; unset: never"
    )
    second_consent: Literal["keep", "kill"] = Field(
        "keep", description="what a second consent does to the grant's older token families (Atlassian only)"
    )
    grant_level: Literal["resource", "account"] = Field(
        "resource", description="a token reaches the sites picked with it, or all sites of its grant"
    )
    withheld_scopes: tuple[str, ...] = Field((), description="scopes never granted though asked for")
    missing_scope_status: Literal[401, 403] = Field(403, description="answer to a call without its scope")
    expired_status: Literal[401, 403, 404] = Field(
        401, description="the gateway's answer to an expired token; 403 and 404 have been seen in the wild"
    )
    unknown_refresh_error: Literal["unauthorized_client", "invalid_grant"] = Field(
        "unauthorized_client", description="error code for a refresh token never issued (Atlassian only)"
    )

    def changed(self, patch: dict[str, Any]) -> "Rules":
        """These rules with `patch` on top. Raises pydantic's ValidationError for an unknown or bad value."""
        return Rules.model_validate({**self.model_dump(), **patch})


class SimulatorSettings(Rules, BaseSettings):
    """Everything the program is started with; each field is a flag and a `SIMULATOR_*` variable."""

    model_config = SettingsConfigDict(env_prefix="SIMULATOR_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(9300, ge=1, le=65535, description="port to listen on")
    origin: str | None = Field(None, description="public origin, for the issuer; unset: as it was called")
    state: Path | None = Field(None, description="file that keeps state across restarts; unset: none")
    client_id: str = Field("authpipe-dev", description="client id of the app that is registered at start")
    client_secret: str = Field("authpipe-dev-secret", description="its client secret", repr=False)
    redirect_uris: tuple[str, ...] = Field(
        (), description="redirect URIs of that app, matched exactly; any on loopback is allowed besides"
    )

    @property
    def rules(self) -> Rules:
        return Rules.model_validate(self.model_dump(include=set(Rules.model_fields)))
