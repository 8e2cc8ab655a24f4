"""The way to the provider's consent page and the checks on the way back (RFC 6749 4.1.1, RFC 7636, RFC 9207)."""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from domain.redirects import origin_of


def code_challenge(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def authorization_url(
    endpoint: str,
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    separator: str,
    state: str,
    challenge: str | None,
    params: Mapping[str, str],
) -> str:
    """Where the browser is sent (RFC 6749 section 4.1.1).

    The endpoint's own query is kept (section 3.1); `params` win over it, and what we set wins over both.
    """
    own = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": separator.join(scopes) or None,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256" if challenge else None,
    }
    parts = urlsplit(endpoint)
    query = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **params}
    query |= {name: value for name, value in own.items() if value is not None}
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote), fragment=""))


def issuer_matches(iss: str | None, *, issuer: str | None, required: bool, endpoints: Iterable[str]) -> bool:
    """Whether the callback's `iss` names the server we sent the browser to (RFC 9207 section 2.4).

    A declared issuer must be equal character by character. With none declared, `iss` must share the origin of one
    of the `endpoints`. An absent `iss` is accepted unless the provider is known to send it.
    """
    if iss is None:
        return not required
    if issuer is not None:
        return iss == issuer
    sender = origin_of(iss)
    return sender is not None and sender in {origin_of(endpoint) for endpoint in endpoints}
