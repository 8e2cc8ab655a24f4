"""The atomic swap: an accepted candidate becomes the life's credential."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.candidate import DELETED, Candidate
from activities.checkup import interval_of
from activities.commit import commit_within
from activities.deps import Deps
from activities.messages import LifeIds
from activities.probe import tell
from activities.projection import credential_columns
from activities.qualify import Chosen
from activities.verdict import Failed, Later
from domain.checkup import next_checkup
from domain.credential import CredentialRef
from domain.life import AttemptState, Kind, Status
from vault import configs, credentials, ledger, sessions
from vault.events import append_event
from vault.grants import join_grant
from vault.lives import LostRace, active_of, allot_generation, compare_and_set, itself, lock_in_order, with_account
from vault.tables import AuthSession, Life, ProviderConfig


@dataclass(frozen=True, slots=True)
class Swap:
    """What goes in: an attempt's candidate, checked, and sealed anew under the generation that `ref` names."""

    session: AuthSession
    candidate: Candidate
    chosen: Chosen
    ref: CredentialRef
    sealed: credentials.SealedSecrets
    jitter: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """The swap was made. `siblings` are other lives of the grant, which the consent changed."""

    ref: CredentialRef
    probe_at: datetime | None
    siblings: list[LifeIds] = field(default_factory=list)


async def accept(
    deps: Deps, life: Life, session: AuthSession, candidate: Candidate, chosen: Chosen, jitter: float
) -> Accepted | Failed | Later:
    """Swap the candidate in under a generation of its own: a refresh that came meanwhile does not outrank a consent."""
    until = deps.clock() + deps.limits.lease
    accepted: Accepted | Failed | None = None
    while accepted is None:
        async with deps.db.transaction() as tx:
            generation = await allot_generation(tx, life)
        sealed = await credentials.seal(deps.sealer, life, generation, candidate.secrets)
        ref = credentials.reference(candidate.row, generation)
        swap = Swap(session, candidate, chosen, ref, sealed, jitter)
        try:
            accepted = await commit_within(partial(_write, deps, life, swap), deps.clock, until)
        except IntegrityError:
            accepted = await _already_installed(deps, life, chosen)
            if accepted is None:
                raise
    return accepted


async def _write(deps: Deps, life: Life, swap: Swap) -> Accepted | Failed | None:
    """None: a refresh committed a later generation meanwhile, so the swap needs a later one still."""
    async with deps.db.transaction() as tx:
        found = await _locked(tx, life, swap)
        if isinstance(found, Failed):
            return found
        row, siblings = found
        standing = await credentials.current(tx, life.id)
        if standing is not None and standing.id == swap.candidate.row.id:
            # Committed before, its answer was lost.
            return Accepted(credentials.reference(standing), row.probe_at)
        if row.generation > swap.ref.generation:
            return None
        probe_at = await _swap(tx, row, swap, deps.clock())
        return Accepted(swap.ref, probe_at, await tell(tx, siblings, deps.clock()))


async def _locked(tx: AsyncSession, life: Life, swap: Swap) -> tuple[Life, list[Life]] | Failed:
    """The row to write to, and the others of its account's grant.

    An exchange commits only while its life, and the installation it belongs to, live.
    """
    session, bound = swap.session, life.kind == Kind.CONNECTION and life.installation_id
    theirs = active_of(life.provider_config_id, swap.chosen.account_id)
    rows = await lock_in_order(tx, itself(life.id), itself(life.installation_id), theirs)
    installation, row = rows.get(life.installation_id), rows.get(life.id)
    if row is None or row.deleted_at:
        return Failed(DELETED)
    if bound and (installation is None or installation.deleted_at):
        return Failed("installation_not_active")
    if not await configs.stays(tx, session.provider_config_id):
        return Failed("config_deleted")
    fresh = await sessions.get_session(tx, session.id)
    ended = fresh is None or fresh.state == AttemptState.FAILED
    if ended:
        return Failed("session_ended")
    del rows[row.id]
    return row, with_account(rows, swap.chosen.account_id)


async def _swap(tx: AsyncSession, row: Life, swap: Swap, now: datetime) -> datetime:
    """Answers when the first check-up is due."""
    session, site = swap.session, swap.chosen.site
    config = await tx.get_one(ProviderConfig, session.provider_config_id)
    probe_at = next_checkup(now, interval_of(config), swap.jitter)
    await credentials.promote(tx, swap.candidate.row, swap.ref, swap.sealed)
    await ledger.supersede(tx, row.id, now)
    grant_id = await join_grant(tx, row, swap.chosen.account_id, swap.ref.scopes, now)
    await compare_and_set(
        tx,
        row,
        now,
        status=Status.ACTIVE,
        reason="",
        revoked_at=None,
        account_id=swap.chosen.account_id,
        grant_id=grant_id,
        site_id=site.id if site else row.site_id,
        site_name=site.name if site else row.site_name,
        site_url=(site.url or "") if site else row.site_url,
        requested_scopes=session.scopes,
        connected_at=row.connected_at or now,
        consented_at=now,
        noticed_days=0,
        granted_scopes=swap.ref.scopes,
        health="ok",
        doubt="",
        site_scopes=list(site.scopes) if site else None,
        probe_at=probe_at,
        **credential_columns(swap.ref, swap.jitter),
    )
    if not await sessions.finish(tx, session, now):
        raise LostRace(session.id)
    if row.connected_at is None:
        await append_event(tx, row, "created", now, session=session.id)
    await append_event(tx, row, "activated", now, old=row.status, new=Status.ACTIVE, session=session.id)
    return probe_at


async def _already_installed(deps: Deps, life: Life, chosen: Chosen) -> Failed | None:
    async with deps.db.reading() as tx:
        query = select(Life.id).where(
            Life.workspace_id == life.workspace_id,
            Life.provider_config_id == life.provider_config_id,
            Life.tenant_id == life.tenant_id,
            Life.kind == Kind.INSTALLATION,
            Life.site_id == (chosen.site.id if chosen.site else ""),
            col(Life.deleted_at).is_(None),
        )
        living = (await tx.exec(query)).first()
    return Failed("already_installed", expected=living) if living else None
