"""The one list of what the doctor looks at. A check stands behind those that it needs."""

from collections.abc import Sequence

from runtime.doctor import address_checks, engine_checks, vault_checks
from runtime.doctor.examining import Check, Outcome, examine
from runtime.doctor.patient import Patient
from runtime.settings import Settings
from runtime.vault_setup import clock

CHECKS: Sequence[Check] = (
    Check("provider files", vault_checks.provider_files),
    Check("keys", vault_checks.keys),
    Check("database", vault_checks.database),
    Check("migrations", vault_checks.migrations, ("database",)),
    Check("clock", vault_checks.clocks, ("database",)),
    Check("keys of the vault", vault_checks.vault_keys, ("keys", "migrations")),
    Check("rows of the vault", vault_checks.rows, ("keys of the vault",)),
    Check("temporal", engine_checks.temporal),
    Check("search attributes", engine_checks.search_attributes, ("temporal",)),
    Check("workers", engine_checks.workers, ("temporal",)),
    Check("workers by provider", engine_checks.provider_queues, ("workers", "migrations")),
    Check("redirect URLs", address_checks.redirects, ("keys of the vault",), seconds=30),
    Check("connections", vault_checks.overdue, ("migrations",)),
)


async def examine_server(settings: Settings) -> list[Outcome]:
    """Every check of the server that these settings describe."""
    patient = Patient(settings, clock)
    try:
        return await examine(patient, CHECKS)
    finally:
        await patient.close()
