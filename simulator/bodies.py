"""Bodies of the admin calls."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from simulator.faults import Endpoint, Kind


class AppBody(BaseModel):
    """Further fields are rules of this app, such as `token_lifetime` or `second_consent`."""

    model_config = ConfigDict(extra="allow")
    client_id: str = Field(min_length=1, max_length=128)
    client_secret: str | None = Field(None, description="made if absent, unless the client is public")
    public: bool = False
    redirect_uris: list[str] = []


class SecretBody(BaseModel):
    client_secret: str | None = None


class FaultBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    endpoint: Endpoint
    kind: Kind
    times: int | None = Field(1, ge=1, description="null: until cleared")
    status: int | None = Field(None, ge=200, le=599)
    body: Any = None
    headers: dict[str, str] = {}
    seconds: float = Field(0, ge=0)
    after: bool = False
    grant_type: str | None = None
    client_id: str | None = None


class PersonBody(BaseModel):
    sites: list[str] = Field(description="sites they reach, by id or name")


class SiteBody(BaseModel):
    name: str = Field(min_length=1, max_length=128)


class GrantBody(BaseModel):
    token_lifetime: int = Field(ge=1, description="of the access tokens issued from now on, seconds")


class ReasonBody(BaseModel):
    reason: str = "revoked_by_user"


class WebhookBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    url: HttpUrl
    signing_key: str = Field(
        description="`whsec_` and base64, as Standard Webhooks has it",
        pattern=r"^(whsec_)?([A-Za-z0-9+/]{4}){6,}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    )


class ClockBody(BaseModel):
    offset_seconds: float = Field(description="how far the simulator's clock is ahead of the real one")
