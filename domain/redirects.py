"""Where a browser may be sent after a consent, and where our own pages lie."""

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an absolute http(s) URL; None for anything else, credentials in it included."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None or "\\" in url:
        return None
    if any(ord(c) <= 32 or ord(c) == 127 for c in url):
        return None
    return parts.scheme, parts.hostname, DEFAULT_PORTS[parts.scheme] if port is None else port


def is_origin(value: str) -> bool:
    """Whether it is an http(s) origin and nothing more (RFC 6454 section 6.2)."""
    return origin_of(value) is not None and not set("/?#") & set(value.partition("://")[2])


def origin_text(url: str) -> str | None:
    """The origin of a URL as browsers write it in an `Origin` header (RFC 6454 section 6.2); None if it has none.

    Nothing but letters, digits, dots, hyphens and brackets: it may stand in a header or a policy as it is.
    """
    origin = origin_of(url)
    if origin is None:
        return None
    scheme, host, port = origin
    try:
        name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        return None
    if not HOST.fullmatch(name):
        return None
    return f"{scheme}://{name}" + ("" if port == DEFAULT_PORTS[scheme] else f":{port}")


def host_of(url: str) -> str:
    """The host a person would read in the address bar; empty where there is none."""
    origin = origin_of(url)
    return origin[1] if origin else ""


def is_allowed(redirect_url: str, allowed: Sequence[str] | None, oauth_redirect_url: str) -> bool:
    """Each entry matches the whole URL exactly; without entries the origin must be that of our own redirect URL."""
    origin = origin_of(redirect_url)
    if origin is None:
        return False
    if allowed:
        return redirect_url in allowed
    return origin == origin_of(oauth_redirect_url)


def visit_url(oauth_redirect_url: str, session_id: str) -> str:
    """The page that begins a session. Like all of ours it lies on the redirect URL's origin: so does its cookie."""
    return _page_url(oauth_redirect_url, "visit", session_id)


def sites_url(oauth_redirect_url: str, session_id: str) -> str:
    """The page on which the installer chooses a site."""
    return _page_url(oauth_redirect_url, "sites", session_id)


def done_url(oauth_redirect_url: str, session_id: str) -> str:
    """The page that says how a session ended, where the builder has none."""
    return _page_url(oauth_redirect_url, "done", session_id)


def with_query(url: str, values: dict[str, str]) -> str:
    """`url` with our values added to its query; a value of the same name that was there is replaced."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in values]
    return urlunsplit(parts._replace(query=urlencode([*kept, *values.items()])))


def _page_url(oauth_redirect_url: str, name: str, session_id: str) -> str:
    parts = urlsplit(oauth_redirect_url)
    return urlunsplit((parts.scheme, parts.netloc, f"/oauth/{name}/{session_id}", "", ""))
