import pytest

from providers.catalog import load_catalog
from providers.model import Provider, Scope, ScopeKind, ScopeLists, TokenEndpoint
from providers.scopes import UnknownScopeError, check_scopes, missing, requested_scopes

USER, INSTALLATION = ScopeKind.USER, ScopeKind.INSTALLATION


def provider(*, one_grant: bool = False, lists: ScopeLists | None = None) -> Provider:
    known = ScopeLists((Scope("u1"), Scope("u2"), Scope("off")), (Scope("i1"), Scope("off")), ("off",))
    return Provider(
        id="acme",
        name="Acme",
        authorization_url="https://as.acme.example/authorize",
        token=TokenEndpoint("https://as.acme.example/token"),
        scopes=known if lists is None else lists,
        one_grant_per_account=one_grant,
    )


def test_an_unknown_scope_names_the_nearest_known_one() -> None:
    with pytest.raises(UnknownScopeError) as unknown:
        check_scopes(load_catalog()["jira"], USER, ["read:jira-work", "read:jira-works"])
    assert (unknown.value.scope, unknown.value.nearest) == ("read:jira-works", "read:jira-work")
    assert "'read:jira-work'" in str(unknown.value)


def test_the_nearest_scope_is_named_however_far() -> None:
    with pytest.raises(UnknownScopeError, match="nearest known one is '"):
        check_scopes(provider(), INSTALLATION, ["zzz"])


def test_a_scope_of_the_other_kind_is_unknown() -> None:
    check_scopes(provider(), USER, ["u1", "off"])
    with pytest.raises(UnknownScopeError):
        check_scopes(provider(), INSTALLATION, ["u1"])


def test_an_empty_list_accepts_any_scope() -> None:
    check_scopes(provider(lists=ScopeLists()), USER, ["anything"])


def test_what_is_asked_comes_before_the_configs_default_and_that_before_the_catalog() -> None:
    assert requested_scopes(provider(), USER, ["u2"], {USER: ["u1"]}) == ("u2", "off")
    assert requested_scopes(provider(), USER, None, {USER: ["u1"]}) == ("u1", "off")
    assert requested_scopes(provider(), USER, [], {USER: []}) == ("u1", "u2", "off")
    assert requested_scopes(provider(), INSTALLATION, None, {USER: ["u1"]}) == ("i1", "off")


def test_one_grant_per_account_asks_for_both_kinds_so_that_neither_loses() -> None:
    both = provider(one_grant=True)
    assert requested_scopes(both, USER, ["u1"], {}) == ("u1", "i1", "off")
    assert requested_scopes(both, INSTALLATION, None, {USER: ["u2"]}) == ("i1", "off", "u2")


def test_a_provider_without_scopes_is_asked_for_none() -> None:
    assert requested_scopes(provider(lists=ScopeLists()), USER, None, {}) == ()


@pytest.mark.parametrize(("granted", "absent"), [(("a", "b"), ()), (("b", "x"), ("a",)), ((), ("a", "b")), (None, ())])
def test_what_was_not_granted_is_named(granted: tuple[str, ...] | None, absent: tuple[str, ...]) -> None:
    assert missing(("a", "b"), granted) == absent
