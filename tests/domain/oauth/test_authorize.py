from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.oauth.authorize import authorization_url, code_challenge, issuer_matches


def url(endpoint: str = "https://as.example/authorize", **changes: object) -> str:
    arguments: dict[str, object] = {
        "client_id": "app",
        "redirect_uri": "https://b.example/cb?x=1&y=2",
        "scopes": ("read:a", "b"),
        "separator": " ",
        "state": "st&te",
        "challenge": "ch",
        "params": {},
    }
    return authorization_url(endpoint, **{**arguments, **changes})  # type: ignore[arg-type]


def query(address: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(address).query, keep_blank_values=True, strict_parsing=True)


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_every_parameter_is_there_once() -> None:
    assert query(url()) == {
        "response_type": ["code"],
        "client_id": ["app"],
        "redirect_uri": ["https://b.example/cb?x=1&y=2"],
        "scope": ["read:a b"],
        "state": ["st&te"],
        "code_challenge": ["ch"],
        "code_challenge_method": ["S256"],
    }


def test_spaces_are_percent_encoded() -> None:
    assert "scope=read%3Aa%20b" in url()


def test_without_pkce_or_scopes_their_parameters_are_absent() -> None:
    names = query(url(challenge=None, scopes=())).keys()
    assert names == {"response_type", "client_id", "redirect_uri", "state"}


def test_the_endpoints_own_query_is_kept_and_a_fragment_is_not() -> None:
    address = url("https://as.example/authorize?tenant=1&empty=#here")
    assert query(address)["tenant"] == ["1"]
    assert query(address)["empty"] == [""]
    assert "#" not in address


def test_ours_win_over_params_and_params_over_the_endpoint() -> None:
    found = query(
        url(
            "https://as.example/a?prompt=none&state=evil",
            params={"prompt": "consent", "state": "evil", "client_id": "evil"},
            separator=",",
        )
    )
    assert found["prompt"] == ["consent"]
    assert found["state"] == ["st&te"]
    assert found["client_id"] == ["app"]
    assert found["scope"] == ["read:a,b"]


@given(state=st.text(st.characters(codec="utf-8"), min_size=1), extra=st.text(st.characters(codec="utf-8")))
def test_any_text_survives_the_url(state: str, extra: str) -> None:
    found = query(url(state=state, params={"x": extra}))
    assert (found["state"], found["x"]) == ([state], [extra])


ENDPOINTS = ("https://auth.example/authorize", "https://api.example/token")


@pytest.mark.parametrize(
    ("iss", "issuer", "required", "matches"),
    [
        ("https://auth.example", "https://auth.example", True, True),
        ("https://auth.example/", "https://auth.example", False, False),
        ("https://AUTH.example", "https://auth.example", False, False),
        ("https://auth.example:443", "https://auth.example", False, False),
        ("", "https://auth.example", False, False),
        (None, "https://auth.example", False, True),
        (None, "https://auth.example", True, False),
        (None, None, False, True),
        ("https://auth.example", None, False, True),
        ("https://auth.example:443/tenant", None, False, True),
        ("https://AUTH.example", None, False, True),
        ("https://api.example/x", None, False, True),
        ("http://auth.example", None, False, False),
        ("https://auth.example:444", None, False, False),
        ("https://auth.example.evil", None, False, False),
        ("https://auth.example@evil.example", None, False, False),
        ("https://auth.example:x", None, False, False),
        ("https://[auth.example", None, False, False),
        ("auth.example", None, False, False),
        ("", None, False, False),
    ],
)
def test_only_the_right_issuer_is_believed(iss: str | None, issuer: str | None, required: bool, matches: bool) -> None:
    assert issuer_matches(iss, issuer=issuer, required=required, endpoints=ENDPOINTS) is matches


def test_an_issuer_without_origin_never_matches_an_endpoint_without_one() -> None:
    assert not issuer_matches("nonsense", issuer=None, required=False, endpoints=["nonsense"])
