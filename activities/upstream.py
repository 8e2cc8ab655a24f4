"""Tell the provider that a credential is not wanted any more (RFC 7009), unless its grant is somebody else's too."""

from activities.client import as_the_app, clients_of
from activities.deps import Deps
from domain.oauth.failures import Failure
from providers.flows import Upstream, identity_flow, revocation_flow
from vault import credentials, sessions
from vault.lives import awaited_of_account, of_account
from vault.tables import Credential, Life, ProviderConfig

KEPT_SHARED = "kept_shared"


async def tell(deps: Deps, life: Life, config: ProviderConfig, secrets: credentials.Secrets) -> str:
    """What the provider said: one of `Upstream`."""
    clients = await clients_of(deps, config)
    if not clients:
        return Upstream.UNCONFIRMED
    provider = deps.provider(life.provider_id)
    answer = await as_the_app(
        deps,
        clients,
        lambda client: revocation_flow(provider, client, refresh_token=secrets.refresh, access_token=secrets.access),
        deps.clock() + 2 * deps.limits.http,
    )
    return Upstream.UNCONFIRMED if isinstance(answer, Failure) else answer


async def tell_of_candidate(
    deps: Deps, life: Life, config: ProviderConfig, candidate: Credential, secrets: credentials.Secrets
) -> str:
    """The same for one that joined no grant yet: whose account it is has to be known first."""
    provider = deps.provider(life.provider_id)
    async with deps.db.reading() as tx:
        session = await sessions.get_session(tx, candidate.session_id)
    account_id = session.account_id if session else ""
    if not account_id and provider.identity is not None:
        if provider.identity.needs_site and not life.site_id:
            return Upstream.UNCONFIRMED
        flow = identity_flow(provider, access_token=secrets.access, site_id=life.site_id or None)
        identity = await deps.http.drive(flow, deps.limits.http)
        account_id = "" if isinstance(identity, Failure) else identity.account_id or ""
        if not account_id:
            return Upstream.UNCONFIRMED
    if await is_shared(deps, config, account_id, but=candidate.session_id):
        return KEPT_SHARED
    return await tell(deps, life, config, secrets)


async def is_shared(deps: Deps, config: ProviderConfig, account_id: str, *, but: str) -> bool:
    """Whether that account's grant at the app is somebody's: a living row's, or that of an attempt under way.

    An attempt whose account is not known yet counts. `but` is the session that asks.
    """
    async with deps.db.reading() as tx:
        used = await of_account(tx, config, account_id)
        return used or await awaited_of_account(tx, config, account_id, but)
