"""Open an auth session: who may be connected to what is settled here, before any browser is involved."""

from dataclasses import dataclass, replace

from sqlalchemy import delete
from sqlmodel import col, select

from api.auth import Caller
from api.deps import ApiDeps
from api.request_ids import about
from domain.errors import Problem
from domain.life import AttemptState, Kind, Status
from domain.redirects import is_allowed
from providers.model import Provider, ScopeKind
from providers.scopes import UnknownScopeError, check_scopes, requested_scopes
from vault import configs, session_tokens
from vault.ids import new_id
from vault.lives import LifeKey, find_or_create, lock_life
from vault.tables import AuthSession, Life, ProviderConfig, SessionToken


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asks for; a session token's own fields win over these. Empty texts were left out.

    Without a `redirect_url` the browser ends on our own page.
    """

    kind: Kind
    provider_id: str
    tenant_id: str
    redirect_url: str = ""
    user_id: str = ""
    installation_id: str = ""
    provider_config_id: str = ""
    label: str = ""
    scopes: tuple[str, ...] | None = None
    opener_origin: str = ""


async def open_session(deps: ApiDeps, caller: Caller, wish: Wish) -> AuthSession:
    """Record a session and wake its life. Refused if the engine is away: then nothing is left behind."""
    wish = _as_mandated(wish, caller.token) if caller.token else wish
    provider = provider_of(deps, wish.provider_id)
    config = await config_for(deps, caller, wish.provider_id, wish.provider_config_id)
    _check(wish, provider, config)
    wish = replace(wish, installation_id=await _installation(deps, caller, wish, provider, config))
    life, session = await _recorded(deps, caller, wish, provider, config)
    about(life)
    try:
        await deps.lives.wake(life)
    except Problem:
        await _forget(deps, session)
        raise
    return session


def provider_of(deps: ApiDeps, provider_id: str) -> Provider:
    """The catalog's entry, or `provider_unknown`."""
    provider = deps.catalog.get(provider_id)
    if provider is None:
        raise Problem("provider_unknown", f"There is no provider {provider_id[:64]!r} in the catalog.")
    return provider


async def config_for(deps: ApiDeps, caller: Caller, provider_id: str, config_id: str) -> ProviderConfig:
    """The one enabled config that is meant; several without a `provider_config_id` are a choice for the caller.

    A page needs their ids to name one; which app each of them is only a backend is told.
    """
    async with deps.db.reading() as tx:
        conditions = [col(ProviderConfig.id) == config_id] if config_id else []
        named = await configs.search(
            tx, caller.workspace_id, col(ProviderConfig.provider_id) == provider_id, *conditions
        )
    enabled = [c for c in named if c.enabled]
    if len(enabled) == 1:
        return enabled[0]
    if enabled:
        backend = caller.role == "secret"
        candidates = tuple(
            {"provider_config_id": c.id} | ({"client_id": c.client_id} if backend else {}) for c in enabled
        )
        raise Problem("ambiguous", "Several provider configs are enabled; name one.", candidates=candidates)
    if named:
        raise Problem("config_disabled", f"The provider config {named[0].id} is disabled.")
    if config_id:
        raise Problem("not_found", f"There is no provider config {config_id[:64]!r} for {provider_id}.")
    raise Problem("config_missing", f"No provider config for {provider_id} exists.")


def _as_mandated(wish: Wish, token: SessionToken) -> Wish:
    """What the backend fixed wins; what the page says beside it must not contradict."""
    if token.used_at is not None:
        raise Problem("session_token_spent", "This session token has opened its session already.")
    fixed = {
        "kind": token.kind,
        "provider_id": token.provider_id,
        "tenant_id": token.tenant_id,
        "user_id": token.user_id,
        "installation_id": token.installation_id,
        "provider_config_id": token.provider_config_id,
        "label": token.label,
        "redirect_url": token.redirect_url,
    }
    for name, value in fixed.items():
        said = getattr(wish, name)
        if said and value and said != value:
            raise Problem("session_token_mismatch", f"The session token was minted for another {name}.")
    if wish.user_id and not token.user_id:
        raise Problem("session_token_mismatch", "The session token was minted without a user.")
    scopes = tuple(token.scopes) if token.scopes is not None else None
    if set(wish.scopes or ()) - set(scopes or ()):
        raise Problem(
            "session_token_mismatch", "The session token was minted for fewer scopes, or for the config's own."
        )
    return replace(
        wish,
        user_id=token.user_id,
        installation_id=token.installation_id or wish.installation_id,
        provider_config_id=token.provider_config_id or wish.provider_config_id,
        label=token.label,
        redirect_url=token.redirect_url or wish.redirect_url,
        scopes=wish.scopes or scopes,
        opener_origin=token.opener_origin or wish.opener_origin,
    )


def _check(wish: Wish, provider: Provider, config: ProviderConfig) -> None:
    if wish.redirect_url and not is_allowed(wish.redirect_url, config.allowed_redirect_urls, config.oauth_redirect_url):
        raise Problem("redirect_url_not_allowed", "The redirect_url is not one that this provider config allows.")
    if wish.kind is Kind.INSTALLATION and not provider.face.auth_installation:
        raise Problem("bad_request", f"{provider.id} has no installations; open a session for a user instead.")
    if wish.kind is Kind.CONNECTION and not wish.user_id and config.attachment == "user":
        raise Problem("user_required", "This provider config connects users, and no user_id was given.")
    try:
        check_scopes(provider, _scope_kind(wish), wish.scopes or ())
    except UnknownScopeError as error:
        raise Problem("invalid_scope", str(error)) from None


async def _installation(deps: ApiDeps, caller: Caller, wish: Wish, provider: Provider, config: ProviderConfig) -> str:
    """The active installation a user connection lives in; never guessed among several."""
    if wish.kind is Kind.INSTALLATION or not provider.face.auth_installation:
        return ""
    query = select(Life).where(
        Life.workspace_id == caller.workspace_id,
        Life.kind == Kind.INSTALLATION,
        Life.provider_config_id == config.id,
        Life.tenant_id == wish.tenant_id,
        Life.status == Status.ACTIVE,
        col(Life.deleted_at).is_(None),
    )
    async with deps.db.reading() as tx:
        active = [i for i in await tx.exec(query) if wish.installation_id in ("", i.id)]
    if len(active) == 1:
        return active[0].id
    if active:
        candidates = tuple({"installation_id": i.id, "site": i.site_name, "label": i.label} for i in active)
        if caller.role == "publishable":
            candidates = ()  # it stands in everyone's page, and any tenant can be named there
        raise Problem("ambiguous", "The tenant has several active installations; name one.", candidates=candidates)
    if wish.installation_id:
        raise Problem("not_found", "The tenant has no active installation of that id.")
    raise Problem("installation_required", f"The tenant has no active installation of {provider.id}.")


async def _life(deps: ApiDeps, caller: Caller, wish: Wish, provider: Provider, config: ProviderConfig) -> Life:
    installation = wish.kind is Kind.INSTALLATION
    key = LifeKey(
        workspace_id=caller.workspace_id,
        kind=wish.kind,
        provider_config_id=config.id,
        tenant_id=wish.tenant_id,
        user_id="" if installation else wish.user_id,
        installation_id=wish.installation_id,
        label=wish.label or "default",
    )
    attachment = "tenant" if installation or not wish.user_id else "user"
    return await find_or_create(deps.db, key, provider.id, attachment, _scopes(wish, provider, config), deps.clock())


def _session(deps: ApiDeps, caller: Caller, wish: Wish, config: ProviderConfig, life: Life) -> AuthSession:
    now = deps.clock()
    trusted = caller.role != "publishable" or (config.trust_publishable_sessions and deps.development)
    return AuthSession(
        id=new_id("sess"),
        workspace_id=caller.workspace_id,
        life_id=life.id,
        kind=wish.kind,
        provider_id=config.provider_id,
        provider_config_id=config.id,
        tenant_id=wish.tenant_id,
        user_id=wish.user_id,
        installation_id=wish.installation_id,
        state=AttemptState.PENDING,
        redirect_url=wish.redirect_url,
        oauth_redirect_url=config.oauth_redirect_url,
        scopes=_scopes(wish, deps.catalog[config.provider_id], config),
        opened_by=caller.role,
        opener_origin=wish.opener_origin,
        session_token_id=caller.token.id if caller.token else "",
        needs_verification=config.verify_user or not trusted,
        created_at=now,
        expires_at=now + deps.session_life,
    )


async def _recorded(
    deps: ApiDeps, caller: Caller, wish: Wish, provider: Provider, config: ProviderConfig
) -> tuple[Life, AuthSession]:
    """A session of a living life. One that is deleted between finding and recording has a successor, once."""
    for _ in range(2):
        life = await _life(deps, caller, wish, provider, config)
        session = _session(deps, caller, wish, config, life)
        if await _record(deps, caller, session):
            return life, session
    raise Problem("deleted_meanwhile", f"The {wish.kind} was deleted while the session was being opened.")


async def _record(deps: ApiDeps, caller: Caller, session: AuthSession) -> bool:
    """False if the life is deleted. It stays locked until the session stands: its burial then sees the session."""
    async with deps.db.transaction() as tx:
        life = await lock_life(tx, session.life_id)
        if life is None or life.deleted_at is not None:
            return False
        if caller.token and not await session_tokens.use(tx, caller.token.id, session.id, session.created_at):
            raise Problem("session_token_spent", "This session token has opened its session already.")
        tx.add(session)
    return True


async def _forget(deps: ApiDeps, session: AuthSession) -> None:
    async with deps.db.transaction() as tx:
        await tx.exec(delete(AuthSession).where(col(AuthSession.id) == session.id))
        await session_tokens.unuse(tx, session.session_token_id, session.id)


def _scope_kind(wish: Wish) -> ScopeKind:
    return ScopeKind.INSTALLATION if wish.kind is Kind.INSTALLATION else ScopeKind.USER


def _scopes(wish: Wish, provider: Provider, config: ProviderConfig) -> list[str]:
    defaults = {ScopeKind.USER: config.scopes or [], ScopeKind.INSTALLATION: config.bot_scopes or []}
    return list(requested_scopes(provider, _scope_kind(wish), wish.scopes, defaults))
