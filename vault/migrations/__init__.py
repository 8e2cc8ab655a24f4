"""Alembic migrations of the vault, found relative to this package; `python -m vault.migrations "…"` writes the next."""
