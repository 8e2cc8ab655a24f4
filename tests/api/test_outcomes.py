"""The one table of words: every way an attempt can end has its own, and all of them help."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.outcomes import has_words, words_for
from domain.life import AttemptState, Kind
from domain.oauth.failures import FailureCode
from providers.catalog import load_catalog
from vault.tables import AuthSession

ROOMS = Path(__file__).parents[2]
ENDINGS = {"Failed": "reason", "Later": "code"}
# RFC 6749 section 4.1.2.1: what a provider may send back instead of a code.
AUTHORIZATION_ERRORS = (
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
)


def ended(state: AttemptState, reason: str = "", kind: Kind = Kind.INSTALLATION) -> AuthSession:
    return AuthSession(state=state, reason=reason, kind=kind)


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names a module gives to texts."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def _spoken(file: Path, known: dict[str, str]) -> Iterator[str]:
    """Every reason a file gives by its text or by a name for it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in ENDINGS and node.args:
            yield from _texts(node.args[0], known)
        if name in ("end_open", "finish"):
            yield from (
                text
                for arg in [*node.args[3:], *(k.value for k in node.keywords if k.arg == "reason")]
                for text in _texts(arg, known)
            )


def _texts(node: ast.expr, known: dict[str, str]) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
        if isinstance(part, ast.Name) and part.id in known:
            yield known[part.id]


def reasons() -> set[str]:
    """Every reason an attempt can end with, read from the code that ends it."""
    files = [*(ROOMS / "activities").glob("*.py")]
    known: dict[str, str] = {}
    for file in files:
        known |= _constants(ast.parse(file.read_text()))
    found = {reason for file in files for reason in _spoken(file, known)}
    found |= set(FailureCode) | {rule.code for provider in load_catalog().values() for rule in provider.failures}
    return found | {"code_missing", "provider_error", *AUTHORIZATION_ERRORS}


def test_the_search_finds_what_is_known_to_be_there() -> None:
    told = {
        "expired",
        "no_site",
        "site_mismatch",
        "site_lost",
        "account_mismatch",
        "scopes_missing",
        "deleted",
        "already_installed",
        "installation_not_active",
        "config_deleted",
        "session_ended",
        "probe_refused",
        "probe_failed",
        "probe_unclear",
        "exchange_unknown",
        "exchange_running",
        "keys_unavailable",
        "internal",
    }
    assert told <= reasons()


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_every_reason_has_words_of_its_own(reason: str) -> None:
    assert has_words(reason)


def test_the_reason_for_a_callback_without_an_answer_is_among_them() -> None:
    """The callback's own reasons are not found by the search; should it gain one, this fails."""
    tree = ast.parse((ROOMS / "api" / "callback.py").read_text())
    (function,) = [n for n in tree.body if isinstance(n, ast.AsyncFunctionDef) and n.name == "_without_code"]
    (assigned,) = [n for n in function.body if isinstance(n, ast.Assign)]
    assert set(_texts(assigned.value, {})) == {"provider_error", "code_missing"}


@pytest.mark.parametrize("reason", [*sorted(reasons()), "made_up.by-them", ""])
def test_the_words_say_what_happened_and_what_to_do_and_fill_in_the_names(reason: str) -> None:
    words = words_for(ended(AttemptState.FAILED, reason), provider="Pro{x}", app="App<1>")
    for sentence in (words.happened, words.remedy):
        assert sentence.endswith(".")
        assert "{provider}" not in sentence
        assert "{app}" not in sentence
    assert words.title
    assert not words.title.endswith(".")
    assert "App<1>" in words.title + words.happened + words.remedy


@pytest.mark.parametrize(
    "reason", ["site_mismatch", "site_lost", "account_mismatch", "scopes_missing", "already_installed"]
)
def test_what_was_expected_is_named_for_what_it_is(reason: str) -> None:
    assert words_for(ended(AttemptState.FAILED, reason), provider="P", app="A").expected


def test_what_went_well_is_told_by_kind() -> None:
    titles = {words_for(ended(AttemptState.COMPLETED, kind=kind), provider="P", app="A").title for kind in Kind}
    assert titles == {"Installed", "Connected"}
