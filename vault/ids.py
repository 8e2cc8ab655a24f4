"""Ids of rows: random, never reused, readable by their prefix."""

import base64
import secrets


def new_id(prefix: str) -> str:
    """A fresh id such as `conn_4mzq…`: the prefix and 26 lower-case base32 characters (128 random bits)."""
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(16)).decode().rstrip('=').lower()}"
