"""HTTP as values: what a flow asks for and what it is told, without a client (RFC 9110)."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class HttpRequest:
    """One request to send, once and without following redirects.

    Headers and body may hold secrets, and a query may too, so `repr` shows the address and header names only.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        names = ", ".join(sorted(self.headers))
        return f"<HttpRequest {self.method} {parts.scheme}://{parts.netloc}{parts.path} headers: {names}>"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer, its body already bounded by the driver; header names are lower-cased here.

    `headers` and `body` may hold secrets and are left out of `repr`.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        lowered = {name.lower(): value for name, value in self.headers.items()}
        object.__setattr__(self, "headers", lowered)

    @property
    def ok(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300


Flow: TypeAlias = Generator[HttpRequest, HttpResponse, T]
"""Sans-I/O: yields requests, is sent the responses, returns its result. Whoever drives it owns the I/O."""
