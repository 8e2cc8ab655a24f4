import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.oauth.failures import Endpoint, FailureCode, FailureKind, FailureRule, GrantType
from domain.oauth.token import BodyFormat, ClientAuth, TokenEndpoint
from providers.catalog import BUILT_IN
from providers.loading import ProviderFileError, load_provider
from providers.model import Pkce, Provider, Revocation, Scope, SetupInstructions, TokenKind

Write = Callable[..., Path]


def test_four_keys_make_a_provider_with_the_rfcs_defaults(provider_file: Write) -> None:
    assert load_provider(provider_file()) == Provider(
        id="acme",
        name="Acme",
        authorization_url="https://as.acme.example/authorize",
        token=TokenEndpoint("https://as.acme.example/token", ClientAuth.BODY, BodyFormat.FORM),
    )


def test_every_key_reaches_the_provider(provider_file: Write) -> None:
    provider = load_provider(
        provider_file("""
refresh_url = "https://as.acme.example/refresh"
authorization_params = { prompt = "consent" }
token_params = { resource = "r" }
token_headers = { "X-T" = "t" }
api_headers = { "X-A" = "a" }
client_auth = "basic"
body_format = "json"
pkce = "none"
scope_separator = ","
token_lifetime = "never"
rotation = false
replay_window = 60
one_grant_per_account = true
account_id_from_token = "/data/gid"
issuer = "https://as.acme.example"
issuer_required = true
error_pointer = "/ECODE"
quirks = ["errors_in_200"]
logo = "acme.svg"
category = "crm"
description = "Sells everything."
tags = ["a", "b"]
verified = true
auth_user = false
auth_installation = false
auth_api_key = true
installation_type = "oauth"
[scopes]
always = ["a"]
user = { a = "A.", b = "" }
installation = { a = "A." }
[identity]
url = "https://api.acme.example/{site}/me"
account_id = "/id"
method = "POST"
body = "{}"
healthy_status = 202
[sites]
url = "https://api.acme.example/sites"
items = "/list"
id = "/i"
name = "/n"
site_url = "/u"
scopes = "/s"
[revocation]
url = "https://as.acme.example/revoke"
tokens = ["access_token"]
body_format = "json"
params = { p = "q" }
headers = { "X-R" = "r" }
[[failures]]
grant = "refresh"
status = 200
error = "gone"
kind = "user"
code = "grant_expired"
source = "somewhere"
[[failures]]
endpoint = "identity"
status = 403
empty_body = true
kind = "moment"
code = "rate_limited"
[setup_instructions]
title = "T"
steps = ["one"]
callback_note = "note"
docs_url = "https://docs.acme.example"
""")
    )
    assert provider.refresh_url == "https://as.acme.example/refresh"
    assert provider.authorization_params == {"prompt": "consent"}
    assert provider.token == TokenEndpoint(
        "https://as.acme.example/token",
        ClientAuth.BASIC,
        BodyFormat.JSON,
        {"resource": "r"},
        {"X-T": "t"},
    )
    assert provider.api_headers == {"X-A": "a"}
    assert (provider.pkce, provider.scope_separator) == (Pkce.NONE, ",")
    assert (provider.token_lifetime, provider.rotation, provider.replay_window) == (None, False, 60)
    assert provider.one_grant_per_account
    assert provider.account_id_from_token == "/data/gid"
    assert (provider.issuer, provider.issuer_required) == ("https://as.acme.example", True)
    assert (provider.error_pointer, provider.quirks) == ("/ECODE", ("errors_in_200",))
    assert provider.scopes.user == (Scope("a", "A."), Scope("b"))
    assert provider.scopes.installation == (Scope("a", "A."),)
    assert provider.scopes.always == ("a",)
    identity, sites = provider.identity, provider.sites
    assert identity is not None
    assert sites is not None
    assert identity.needs_site
    assert (identity.account_id, identity.method, identity.body) == ("/id", "POST", "{}")
    assert identity.healthy_status == 202
    assert (sites.items, sites.id, sites.name, sites.site_url, sites.scopes) == (
        "/list",
        "/i",
        "/n",
        "/u",
        "/s",
    )
    assert provider.revocation == Revocation(
        TokenEndpoint(
            "https://as.acme.example/revoke",
            ClientAuth.BASIC,
            BodyFormat.JSON,
            {"p": "q"},
            {"X-R": "r"},
        ),
        (TokenKind.ACCESS,),
    )
    assert provider.failures == (
        FailureRule(
            FailureKind.USER,
            FailureCode.GRANT_EXPIRED,
            Endpoint.TOKEN,
            GrantType.REFRESH,
            200,
            "gone",
        ),
        FailureRule(
            FailureKind.MOMENT,
            FailureCode.RATE_LIMITED,
            Endpoint.IDENTITY,
            status=403,
            empty_body=True,
        ),
    )
    face = provider.face
    assert (face.logo, face.category, face.description) == ("acme.svg", "crm", "Sells everything.")
    assert (face.tags, face.verified, face.installation_type) == (("a", "b"), True, "oauth")
    assert (face.auth_user, face.auth_installation, face.auth_api_key) == (False, False, True)
    assert face.setup_instructions == SetupInstructions("T", ("one",), "note", "https://docs.acme.example")


def test_one_list_of_scopes_serves_both_kinds(provider_file: Write) -> None:
    short = load_provider(provider_file('scopes = ["a", "b"]')).scopes
    assert short.user == short.installation == (Scope("a"), Scope("b"))
    table = load_provider(provider_file('[scopes.installation]\na = "A."')).scopes
    assert table.user == table.installation == (Scope("a", "A."),)


def test_a_list_that_is_empty_on_purpose_stays_empty(provider_file: Write) -> None:
    scopes = load_provider(provider_file('[scopes]\nuser = { a = "A." }\ninstallation = {}')).scopes
    assert (scopes.user, scopes.installation) == ((Scope("a", "A."),), ())


FAULTS = [
    ("tokn_url = 1", "tokn_url", "nearest is 'token_url'"),
    ('[identity]\naccount_id = "/a"', "identity.url", "is missing"),
    ('[identity]\nulr = ""', "identity.ulr", "nearest is 'url'"),
    ('[identity]\nurl = "https://a.example"\naccount_id = "/a"\nulr = ""', "identity.ulr", "'url'"),
    ('[[failures]]\nkind = "user"\ncode = "grant_revoked"\nstats = 1', "failures[0].stats", "'status'"),
    ('[[failures]]\nkind = "user"\ncode = "grant_revoked"', "failures[0]", "needs a status or an error"),
    ('[[failures]]\nkind = "user"\ncode = "oops"\nstatus = 400', "failures[0].code", "grant_revoked"),
    ('[[failures]]\nkind = "nobody"\ncode = "x"\nstatus = 400', "failures[0].kind", "'user'"),
    (
        '[[failures]]\nkind = "user"\ncode = "grant_revoked"\nstatus = 199',
        "failures[0].status",
        "greater than or equal to 200",
    ),
    (
        '[[failures]]\nkind = "user"\ncode = "grant_revoked"\nerror = "A sentence."',
        "failures[0].error",
        "pattern",
    ),
    ('client_auth = "post"', "client_auth", "'body', 'basic' or 'none'"),
    ('pkce = "plain"', "pkce", "'S256' or 'none'"),
    ('replay_window = "600"', "replay_window", "integer"),
    ("replay_window = -1", "replay_window", "greater than or equal to 0"),
    ("replay_window = true", "replay_window", "integer"),
    ("token_lifetime = 0", "token_lifetime", "greater than or equal to 1"),
    ('token_lifetime = "forever"', "token_lifetime", "integer"),
    ('rotation = "yes"', "rotation", "boolean"),
    ("scopes = [1]", "scopes", "list of scope ids"),
    ('scopes = ["a b"]', "scopes", "no scope id"),
    ('scope_separator = ","\nscopes = ["a,b"]', "scopes", "no scope id"),
    ('[scopes]\nalways = ["a"]\nuser = { b = "" }', "scopes.always", "missing in a list"),
    ('[scopes]\nuser = ["a"]', "scopes.user", "dictionary"),
    ('refresh_url = "http://as.acme.example/x"', "refresh_url", "https://"),
    ('refresh_url = "http://127.0.0.1:1/x"', "refresh_url", "development only"),
    ('refresh_url = "http://localhost.evil.example/x"', "refresh_url", "https://"),
    ('refresh_url = "ftp://as.acme.example/x"', "refresh_url", "https://"),
    ('refresh_url = "/x"', "refresh_url", "full URL"),
    ('refresh_url = "https://user@as.acme.example/x"', "refresh_url", "full URL"),
    ('refresh_url = "https://as.acme.example/x#y"', "refresh_url", "full URL"),
    ('refresh_url = "https://as.acme.example/a b"', "refresh_url", "full URL"),
    ('refresh_url = "https://as.acme.example:port/x"', "refresh_url", "ort"),
    ('refresh_url = "https://{site}.acme.example/x"', "refresh_url", "placeholders"),
    ('refresh_url = "https://[as.acme.example/x"', "refresh_url", "IPv6"),
    (
        '[identity]\naccount_id = "/a"\nurl = "https://{site}.acme.example"',
        "identity.url",
        "path only",
    ),
    ('[identity]\naccount_id = "/a"\nurl = "https://a.example/{sit}"', "identity.url", "placeholders"),
    ('[identity]\naccount_id = "/a"\nurl = "https://a.example/{site}"', "identity.url", "no `sites` call"),
    ('[identity]\naccount_id = "a"\nurl = "https://a.example/"', "identity.account_id", "pattern"),
    ('[identity]\naccount_id = ""\nurl = "https://a.example/"', "identity.account_id", "at least 1"),
    ('[revocation]\nurl = "https://a.example"\ntokens = []', "revocation.tokens", "at least 1"),
    ("issuer_required = true", "issuer_required", "needs `issuer`"),
    ('quirks = ["errors_in_2000"]', "quirks", "nearest is 'errors_in_200'"),
    ('authorization_params = { state = "x" }', "authorization_params.state", "set by Authpipe"),
    ('token_params = { client_id = "x" }', "token_params.client_id", "set by Authpipe"),
    ('api_headers = { Authorization = "x" }', "api_headers", "set by Authpipe"),
    ('api_headers = { "A b" = "x" }', "api_headers", "no header"),
    ('api_headers = { "A" = "x\\r\\nB: y" }', "api_headers", "no header"),
    ("token_url = 1", "", "is not TOML"),
    ("[identity", "", "is not TOML"),
    ("= 1", "", "is not TOML"),
]


USER_RULE = '[[failures]]\nkind = "user"\ncode = "grant_revoked"\n'
MOMENT_RULE = '[[failures]]\nkind = "moment"\ncode = "rate_limited"\n'
TOO_WIDE = [
    (USER_RULE + 'endpoint = "identity"\nstatus = 401', "never says that a grant is dead"),
    (USER_RULE + 'endpoint = "sites"\nstatus = 403\nerror = "gone"', "never says that a grant is dead"),
    (MOMENT_RULE + 'endpoint = "sites"\nstatus = 403\ngrant = "refresh"', "of the token endpoint"),
    (USER_RULE + 'grant = "refresh"', "needs a status or an error"),
    (USER_RULE + "empty_body = true", "empty_body needs a status"),
    (USER_RULE + 'empty_body = true\nstatus = 400\nerror = "gone"', "has no error"),
    (USER_RULE + "status = 200", "garbled success"),
    (USER_RULE + "status = 204\nempty_body = true", "garbled success"),
    (MOMENT_RULE + "status = 200", "garbled success"),
    (USER_RULE + "status = 302", "one in between"),
    (USER_RULE + "status = 429", "overloaded"),
    (USER_RULE + "status = 503\nempty_body = true", "overloaded"),
    ('[[failures]]\nstatus = 400\nkind = "user"\ncode = "client_refused"', "no code of the user's failures"),
    ('[[failures]]\nstatus = 400\nkind = "operator"\ncode = "grant_revoked"', "no code of the operator's failures"),
    ('[[failures]]\nstatus = 400\nkind = "moment"\ncode = "unreachable"', "no code of the moment's failures"),
]


@pytest.mark.parametrize(("rule", "reason"), TOO_WIDE)
def test_a_rule_of_failures_that_could_cost_a_living_grant_is_refused(
    provider_file: Write, rule: str, reason: str
) -> None:
    with pytest.raises(ProviderFileError) as refused:
        load_provider(provider_file(rule))
    assert refused.value.key == "failures[0]"
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    "rule",
    [
        USER_RULE + "status = 400",
        USER_RULE + "status = 403\nempty_body = true",
        USER_RULE + 'status = 200\nerror = "bad_refresh_token"',
        USER_RULE + 'status = 500\nerror = "bad_refresh_token"',
        USER_RULE + 'error = "bad_refresh_token"',
        MOMENT_RULE + "status = 503",
        MOMENT_RULE + 'endpoint = "sites"\nstatus = 403',
    ],
)
def test_a_rule_of_failures_that_is_narrow_enough_is_taken(provider_file: Write, rule: str) -> None:
    assert len(load_provider(provider_file(rule)).failures) == 1


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.toml")), ids=lambda path: path.stem)
def test_every_rule_of_a_built_in_file_says_where_it_is_known_from(path: Path) -> None:
    rules = tomllib.loads(path.read_text(encoding="utf-8")).get("failures", [])
    assert all(rule.get("source", "").strip() for rule in rules)


@pytest.mark.parametrize(("more", "key", "reason"), FAULTS)
def test_a_faulty_file_is_refused_with_file_key_and_reason(
    provider_file: Write, more: str, key: str, reason: str
) -> None:
    path = provider_file(more)
    with pytest.raises(ProviderFileError) as refused:
        load_provider(path)
    assert refused.value.key == key
    assert reason in refused.value.reason
    assert str(refused.value).startswith(f"{path}: {key}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["Acme", "1acme", "ac_me", "a" * 64, "ac/me", ""])
def test_an_id_is_short_and_plain(provider_file: Write, name: str) -> None:
    path = provider_file(minimal=f'id = "{name}"\nname = "x"\n')
    with pytest.raises(ProviderFileError) as refused:
        load_provider(path)
    assert refused.value.key == "id"


def test_an_id_is_its_files_name(provider_file: Write) -> None:
    with pytest.raises(ProviderFileError, match=r"id: 'acme' must be the file's name"):
        load_provider(provider_file(name="other"))


def test_a_missing_key_is_named(provider_file: Write) -> None:
    with pytest.raises(ProviderFileError, match=r"token_url: is missing"):
        load_provider(provider_file(minimal='id = "acme"\nname = "A"\nauthorization_url = "https://a.example"\n'))


def test_a_file_that_is_not_there_or_not_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ProviderFileError, match="cannot be read"):
        load_provider(tmp_path / "acme.toml")
    (tmp_path / "acme.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProviderFileError, match="not UTF-8"):
        load_provider(tmp_path / "acme.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]"])
def test_plain_http_to_loopback_needs_leave(provider_file: Write, host: str) -> None:
    path = provider_file(f'refresh_url = "http://{host}:9300/x"')
    assert load_provider(path, allow_loopback_http=True).refresh_url == f"http://{host}:9300/x"
    with pytest.raises(ProviderFileError, match="development only"):
        load_provider(path)


def test_plain_http_elsewhere_is_refused_with_leave_too(provider_file: Write) -> None:
    with pytest.raises(ProviderFileError, match="must begin with https"):
        load_provider(provider_file('refresh_url = "http://10.0.0.1/x"'), allow_loopback_http=True)
