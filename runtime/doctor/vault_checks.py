"""Checks of what this machine was given, and of the vault: files, keys, database, rows, clock."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from sqlmodel import func, select

from providers import catalog
from runtime.doctor.findings import Code, Finding, found
from runtime.doctor.patient import Patient, aside
from runtime.errors import KeyMissingError, KeyRingError
from runtime.keys import read_key_ring
from runtime.settings import variable
from runtime.vault_setup import ring_of
from vault import reconciling
from vault.credentials import newest, open_secrets
from vault.crypto import SealBroken, Sealer
from vault.database import Database, absent_file
from vault.engines import DatabaseUnusable
from vault.keys import KeyEncryptionKeyMissing
from vault.revisions import head

ROWS_TRIED = 50
EXAMPLES = 3
# A token is refreshed minutes before its end; seconds are what would be seen in short lives and in signed messages.
SKEW = timedelta(seconds=5)


async def provider_files(patient: Patient) -> AsyncIterator[Finding]:
    """Every file of the catalog, the built-in ones too."""
    settings = patient.settings
    _, faults = await aside(
        lambda: catalog.read_files(settings.providers_dir, allow_loopback_http=settings.development)
    )
    for fault in faults:
        key = variable("providers_dir") if fault.file == str(settings.providers_dir) else fault.key
        yield found(Code.PROVIDER_FILE_FAULTY, ": ".join(part for part in (fault.file, key, fault.reason) if part))


async def keys(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the keys can be read; not yet whether they fit."""
    try:
        given = await aside(lambda: read_key_ring(patient.settings))
        patient.ring = ring_of(given)
    except KeyMissingError as fault:
        yield found(Code.KEY_MISSING, str(fault).partition(";")[0], _KEY_TO_MAKE)
    except KeyRingError as fault:
        yield found(Code.KEY_UNUSABLE, str(fault))


_KEY_TO_MAKE = (
    f"Set {variable('key_encryption_key')} or {variable('key_encryption_key_file')} to the key of this vault. Is the "
    'vault new, make one: "key1:$(openssl rand -base64 32)"; under `authpipe dev` its first start does.'
)


async def database(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the database answers."""
    try:
        missing = absent_file(patient.settings.database_url)
        if missing:
            yield found(Code.DATABASE_UNREACHABLE, f"there is no file {missing}", _FILE_TO_MAKE)
            return
        patient.db = Database.open(patient.settings.database_url, pool_size=4)
        await patient.db.ping()
    except DatabaseUnusable as fault:
        yield found(Code.DATABASE_UNREACHABLE, str(fault))


_FILE_TO_MAKE = (
    f"Correct {variable('database_url')} or {variable('data_dir')}; is the vault new, `authpipe migrate` makes it."
)


async def migrations(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the schema is the one this version needs."""
    stands = await patient.db.standing()
    if stands.objection:
        what = f"the database is at revision {stands.revision or 'none'}, this version needs {head()}"
        yield found(Code.DATABASE_NEWER if stands.ahead else Code.MIGRATIONS_BEHIND, what)


async def clocks(patient: Patient) -> AsyncIterator[Finding]:
    """Our clock beside the database's. An SQLite file has none of its own."""
    if patient.db.dialect == "sqlite":
        return
    async with patient.db.looking() as session:
        await session.connection()  # to open one takes a while, which is no skew
        sent = patient.clock()
        theirs: datetime = (await session.exec(select(func.clock_timestamp()))).one()
        ours = sent + (patient.clock() - sent) / 2
    skew = skew_in_words("the database's", theirs.astimezone(UTC), ours)
    if skew:
        yield found(Code.CLOCK_SKEWED, skew)


def skew_in_words(whose: str, theirs: datetime, ours: datetime) -> str:
    """Which clock is how far ahead; empty if it does not matter."""
    ahead = ours - theirs
    if abs(ahead) <= SKEW:
        return ""
    return f"this machine's clock is {abs(ahead).total_seconds():.0f} s {_side(ahead)} {whose}"


def _side(ahead: timedelta) -> str:
    return "ahead of" if ahead > timedelta() else "behind"


async def vault_keys(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the keys that were given open what this vault's data keys are wrapped by."""
    for fault in await patient.keys.faults():
        code = Code.KEY_MISSING if isinstance(fault, KeyEncryptionKeyMissing) else Code.KEY_WRONG
        yield found(code, str(fault).partition(";")[0])


async def rows(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the newest credentials open where they lie. What is opened is looked at by nobody."""
    sealer = Sealer(patient.keys)
    tried = await newest(patient.db, ROWS_TRIED)
    shut = []
    for life, credential in tried:
        try:
            await open_secrets(sealer, life, credential)
        except SealBroken:
            shut.append(life.id)
    if shut:
        examples = ", ".join(shut[:EXAMPLES])
        yield found(Code.ROWS_DO_NOT_OPEN, f"{len(shut)} of the {len(tried)} newest credentials, such as {examples}")


async def overdue(patient: Patient) -> AsyncIterator[Finding]:
    """Whether refreshes were due and not made; what a hold keeps from it is not late."""
    now = patient.clock()
    count = await reconciling.count_overdue(patient.db, now)
    if count:
        page = await reconciling.overdue(patient.db, now, size=EXAMPLES)
        examples = ", ".join(life.id for life in page.rows)
        yield found(Code.CONNECTIONS_OVERDUE, f"{count} overdue, such as {examples}")
