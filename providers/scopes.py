"""Which scopes are asked for, which are unknown, which were not granted."""

from collections.abc import Mapping, Sequence

from providers.model import Provider, ScopeKind
from providers.wire import nearest


class UnknownScopeError(ValueError):
    """A scope the catalog does not know. `str` names the nearest known one."""

    def __init__(self, scope: str, nearest: str | None) -> None:
        self.scope, self.nearest = scope, nearest
        super().__init__(f"There is no scope {scope!r}; the nearest known one is {nearest!r}.")


def check_scopes(provider: Provider, kind: ScopeKind, scopes: Sequence[str]) -> None:
    """Raises UnknownScopeError for the first scope that the provider's list does not hold; an empty list holds any."""
    known = [scope.id for scope in provider.scopes.of(kind)]
    for scope in scopes:
        if known and scope not in known:
            raise UnknownScopeError(scope, nearest(scope, known))


def requested_scopes(
    provider: Provider,
    kind: ScopeKind,
    asked: Sequence[str] | None,
    defaults: Mapping[ScopeKind, Sequence[str]],
) -> tuple[str, ...]:
    """What to ask the provider for: `asked`, else the provider config's default, else the catalog's list.

    `defaults` are the provider config's, by kind. Where the provider keeps one grant per account, a consent for one
    kind would take the other kind's scopes away, so both ask for the union (the other kind by its default).
    """
    wanted = [*(asked or _default(provider, kind, defaults))]
    if provider.one_grant_per_account:
        for other in ScopeKind:
            wanted += [] if other is kind else _default(provider, other, defaults)
    return tuple(dict.fromkeys([*wanted, *provider.scopes.always]))


def missing(requested: Sequence[str], granted: Sequence[str] | None) -> tuple[str, ...]:
    """Requested scopes that were not granted; a provider that does not say granted all (RFC 6749 section 5.1)."""
    return () if granted is None else tuple(scope for scope in requested if scope not in granted)


def _default(provider: Provider, kind: ScopeKind, defaults: Mapping[ScopeKind, Sequence[str]]) -> Sequence[str]:
    return defaults.get(kind) or [scope.id for scope in provider.scopes.of(kind)]
