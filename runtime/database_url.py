"""The URL of the database, as its vendor prints it, made into one that our drivers can use."""

from typing import Any

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

POSTGRESQL = "postgresql+asyncpg"
SQLITE = "sqlite+aiosqlite"
DRIVERS = {"postgres": POSTGRESQL, "postgresql": POSTGRESQL, "sqlite": SQLITE, POSTGRESQL: POSTGRESQL, SQLITE: SQLITE}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# What libpq calls a parameter, and what the driver does. Any other would reach the driver as a word it does not know.
PARAMETERS = {
    "host": "host",
    "port": "port",
    "sslmode": "ssl",
    "ssl": "ssl",
    "target_session_attrs": "target_session_attrs",
}
LONGEST_LABEL = 63


def read_database_url(text: str) -> str:
    """The URL under its async driver. Raises ValueError, quoting nothing: it may hold a password."""
    scheme, _, rest = text.partition("://")
    if scheme not in DRIVERS:
        raise ValueError("must begin with sqlite:// or postgresql://")
    try:
        url = make_url(f"{DRIVERS[scheme]}://{rest}")
    except (ArgumentError, ValueError):
        raise ValueError("is no URL; write characters such as @ and / of a password as %40 and %2F") from None
    url = _sqlite(url) if DRIVERS[scheme] == SQLITE else _postgresql(url)
    return url.render_as_string(hide_password=False)


def _sqlite(url: URL) -> URL:
    if url.database in (None, "", ":memory:"):
        raise ValueError("must name a file, as in sqlite:///authpipe.db; mind the three slashes")
    if url.query or url.host:
        raise ValueError("must be sqlite:/// and a file, and nothing more")
    return url


def _postgresql(url: URL) -> URL:
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError("must name a port from 1 to 65535")
    if any(
        len(label) > LONGEST_LABEL or not label.isprintable() or " " in label for label in (url.host or "").split(".")
    ):
        raise ValueError("must name a host that can be")
    unknown = set(url.query) - set(PARAMETERS)
    if unknown:
        raise ValueError(f"may have these parameters and no others: {', '.join(PARAMETERS)}")
    query: dict[str, Any] = {PARAMETERS[name]: value for name, value in url.query.items()}
    if query.get("ssl", SSL_MODES[0]) not in SSL_MODES:
        raise ValueError(f"must have an sslmode that is one of {', '.join(SSL_MODES)}")
    return url.set(query=query)
