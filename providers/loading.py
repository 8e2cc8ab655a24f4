"""From a provider's TOML file to a `Provider`, or to one clear line."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from domain.forecast import Lifespan
from domain.oauth.failures import FailureRule
from domain.oauth.token import TokenEndpoint
from providers.model import (
    Face,
    IdentityCall,
    Provider,
    Revocation,
    Scope,
    ScopeLists,
    SetupInstructions,
    SitesCall,
    Webhook,
)
from providers.webhook_form import WebhookTable
from providers.wire import (
    TABLES,
    ProviderFile,
    RevocationTable,
    ScopesTable,
    SetupTable,
    contradictions,
    nearest,
)


class ProviderFileError(ValueError):
    """A provider's file cannot be used. `str` is one line for the operator: file, key, reason."""

    def __init__(self, file: Path | str, key: str, reason: str) -> None:
        self.file, self.key, self.reason = str(file), key, " ".join(reason.split())
        super().__init__(": ".join(part for part in (self.file, key, self.reason) if part))


def load_provider(path: Path, *, allow_loopback_http: bool = False) -> Provider:
    """The provider in `path`. Raises ProviderFileError for anything but a file that is right in every key."""
    try:
        file = ProviderFile.model_validate(_document(path), context={"allow_loopback_http": allow_loopback_http})
    except ValidationError as error:
        # A misspelt key first: what else is wrong, such as a key that is missing, mostly follows from it.
        first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        raise ProviderFileError(path, *_explained(first)) from None
    if file.id != path.stem:
        raise ProviderFileError(path, "id", f"{file.id!r} must be the file's name without .toml")
    for key, reason in contradictions(file):
        raise ProviderFileError(path, key, reason)
    return _provider(file)


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProviderFileError(path, "", f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ProviderFileError(path, "", "is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ProviderFileError(path, "", f"is not TOML: {error}") from None


def _explained(error: ErrorDetails) -> tuple[str, str]:
    """(key, reason) in our words."""
    steps = error["loc"]
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    if error["type"] == "missing":
        return key, "is missing"
    if error["type"] != "extra_forbidden":
        return key, error["msg"].removeprefix("Value error, ")
    table = TABLES[str(steps[0]) if len(steps) > 1 else ""]
    return key, f"is not a key; the nearest is {nearest(str(steps[-1]), table.model_fields)!r}"


def _provider(file: ProviderFile) -> Provider:
    return Provider(
        id=file.id,
        name=file.name,
        authorization_url=file.authorization_url,
        token=TokenEndpoint(file.token_url, file.client_auth, file.body_format, file.token_params, file.token_headers),
        refresh_url=file.refresh_url,
        authorization_params=file.authorization_params,
        api_headers=file.api_headers,
        pkce=file.pkce,
        scope_separator=file.scope_separator,
        scopes=_scopes(file.scopes),
        token_lifetime=file.token_lifetime,
        rotation=file.rotation,
        replay_window=file.replay_window,
        calls_per_second=file.calls_per_second,
        one_grant_per_account=file.one_grant_per_account,
        account_id_from_token=file.account_id_from_token,
        identity=IdentityCall(**dict(file.identity)) if file.identity else None,
        sites=SitesCall(**dict(file.sites)) if file.sites else None,
        revocation=_revocation(file.revocation, file) if file.revocation else None,
        webhook=_webhook(file.webhook) if file.webhook else None,
        lifespan=Lifespan(**dict(file.lifespan)),
        issuer=file.issuer,
        issuer_required=file.issuer_required,
        error_pointer=file.error_pointer,
        failures=tuple(FailureRule(**rule.model_dump(exclude={"source"})) for rule in file.failures),
        quirks=tuple(file.quirks),
        face=_face(file),
    )


def _scopes(table: ScopesTable) -> ScopeLists:
    user, installation = (_described(known) for known in table.lists())
    return ScopeLists(user, installation, tuple(table.always))


def _described(known: Mapping[str, str]) -> tuple[Scope, ...]:
    return tuple(Scope(name, description) for name, description in known.items())


def _revocation(table: RevocationTable, file: ProviderFile) -> Revocation:
    client_auth = table.client_auth or file.client_auth
    endpoint = TokenEndpoint(table.url, client_auth, table.body_format, table.params, table.headers)
    return Revocation(endpoint, tuple(table.tokens))


def _webhook(table: WebhookTable) -> Webhook:
    lists = {"event": tuple(table.event), "withdrawn": tuple(table.withdrawn)}
    return Webhook(**{**dict(table), **lists})


def _face(file: ProviderFile) -> Face:
    return Face(
        logo=file.logo,
        category=file.category,
        description=file.description,
        tags=tuple(file.tags),
        verified=file.verified,
        auth_user=file.auth_user,
        auth_installation=file.auth_installation,
        auth_api_key=file.auth_api_key,
        installation_type=file.installation_type,
        setup_instructions=_setup(file.setup_instructions) if file.setup_instructions else None,
    )


def _setup(table: SetupTable) -> SetupInstructions:
    return SetupInstructions(table.title, tuple(table.steps), table.callback_note, table.docs_url)
