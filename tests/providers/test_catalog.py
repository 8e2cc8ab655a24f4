import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from domain.http import HttpResponse
from domain.oauth.failures import Endpoint, GrantType, api_failure, token_failure
from domain.oauth.token import BodyFormat
from providers.catalog import BUILT_IN, load_catalog
from providers.loading import ProviderFileError
from providers.model import Provider

Write = Callable[..., Path]
ORIGIN = "http://127.0.0.1:9300"


@pytest.fixture(scope="module")
def jira() -> Provider:
    return load_catalog()["jira"]


def test_every_built_in_file_loads_as_it_would_in_production() -> None:
    assert list(load_catalog()) == sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def test_files_of_the_operators_folder_join(provider_file: Write) -> None:
    catalog = load_catalog(provider_file().parent)
    assert catalog["acme"].name == "Acme"
    assert "jira" in catalog
    assert len(catalog) == len(load_catalog()) + 1
    assert list(catalog) == sorted(catalog)


def test_a_second_file_with_a_known_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jira.toml").write_bytes((BUILT_IN / "jira.toml").read_bytes())
    with pytest.raises(ProviderFileError, match="'jira' is already in the catalog"):
        load_catalog(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProviderFileError, match="is not a folder"):
        load_catalog(tmp_path / "missing")


def addresses(value: Any) -> Iterator[str]:
    if isinstance(value, str) and "://" in value:
        yield value
    for inner in value.values() if isinstance(value, dict) else ():
        yield from addresses(inner)
    for inner in value if isinstance(value, list | tuple) else ():
        yield from addresses(inner)


def test_an_origin_moves_every_address_of_one_provider(provider_file: Write) -> None:
    folder = provider_file("""
refresh_url = "https://as.acme.example/refresh?a=b"
issuer = "https://issuer.acme.example/x"
[sites]
url = "https://api.acme.example/sites"
[identity]
url = "https://api.acme.example:444/{site}/me"
account_id = "/id"
[revocation]
url = "https://as.acme.example/revoke"
""").parent
    catalog = load_catalog(folder, allow_loopback_http=True, origins={"acme": ORIGIN})
    found = list(addresses(asdict(catalog["acme"])))
    assert len(found) == 7
    assert all(address.startswith(ORIGIN + "/") for address in found)
    assert catalog["acme"].refresh_url == f"{ORIGIN}/refresh?a=b"
    assert catalog["acme"].identity is not None
    assert catalog["acme"].identity.url == f"{ORIGIN}/{{site}}/me"
    assert catalog["jira"] == load_catalog()["jira"]


@pytest.mark.parametrize(
    ("origins", "reason"),
    [
        ({"nobody": ORIGIN}, "nobody: is not in the catalog"),
        ({"jira": ORIGIN + "/x"}, "scheme, host and port only"),
        ({"jira": "http://10.0.0.1"}, "must begin with https"),
        ({"jira": "127.0.0.1:9300"}, "full URL"),
    ],
)
def test_an_origin_that_cannot_be_is_refused(origins: dict[str, str], reason: str) -> None:
    with pytest.raises(ProviderFileError, match=reason):
        load_catalog(allow_loopback_http=True, origins=origins)


def test_a_plain_http_origin_is_refused_in_production() -> None:
    with pytest.raises(ProviderFileError, match="development only"):
        load_catalog(origins={"jira": ORIGIN})


def test_jira_asks_for_the_two_lists_of_scopes(jira: Provider) -> None:
    assert [scope.id for scope in jira.scopes.user] == [
        "read:jira-work",
        "write:jira-work",
        "read:jira-user",
        "manage:jira-project",
        "manage:jira-configuration",
        "manage:jira-data-provider",
        "manage:jira-webhook",
        "read:board-scope:jira-software",
        "read:sprint:jira-software",
        "write:board-scope:jira-software",
        "read:issue-details:jira",
        "read:project:jira",
        "offline_access",
    ]
    assert [scope.id for scope in jira.scopes.installation] == [
        "read:jira-work",
        "write:jira-work",
        "read:jira-user",
        "manage:jira-project",
        "manage:jira-configuration",
        "offline_access",
    ]
    assert jira.scopes.always == ("read:jira-user", "offline_access")
    described = (*jira.scopes.user, *jira.scopes.installation)
    assert all(scope.description and "\n" not in scope.description for scope in described)


def test_jira_is_as_its_vendor_describes_it(jira: Provider) -> None:
    assert jira.authorization_params == {"audience": "api.atlassian.com", "prompt": "consent"}
    assert jira.token.body_format is BodyFormat.JSON
    assert (jira.token_lifetime, jira.replay_window) == (3600, 600)
    assert jira.rotation
    assert jira.one_grant_per_account
    assert jira.revocation is None
    assert jira.has_sites
    assert '/me"' not in repr(jira)


@pytest.mark.parametrize(
    ("grant", "status", "error", "kind", "code"),
    [
        ("refresh", 403, "invalid_grant", "user", "grant_revoked"),
        ("code", 403, "invalid_grant", "user", "code_refused"),
        ("refresh", 403, "unauthorized_client", "user", "grant_revoked"),
        ("code", 403, "unauthorized_client", "operator", "client_not_allowed"),
        ("refresh", 401, "access_denied", "operator", "client_refused"),
        ("code", 403, "access_denied", "operator", "client_refused"),
        ("refresh", 401, "invalid_client", "operator", "client_refused"),
        ("refresh", 403, None, "moment", "unreadable_answer"),
    ],
)
def test_jiras_refusals_are_read(
    jira: Provider, grant: str, status: int, error: str | None, kind: str, code: str
) -> None:
    body = b"" if error is None else json.dumps({"error": error}).encode()
    failure = token_failure(HttpResponse(status, body=body), GrantType(grant), jira.failures)
    assert (failure.kind, failure.code) == (kind, code)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_jiras_gateway_never_says_that_a_grant_is_dead(jira: Provider, status: int) -> None:
    for endpoint in (Endpoint.IDENTITY, Endpoint.SITES):
        assert api_failure(HttpResponse(status), endpoint, jira.failures).kind == "moment"
