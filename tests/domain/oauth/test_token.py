import json
from base64 import b64decode
from urllib.parse import parse_qs

from domain.http import HttpRequest
from domain.oauth.token import (
    BodyFormat,
    ClientAuth,
    ClientCredentials,
    TokenEndpoint,
    code_request,
    refresh_request,
    revocation_request,
)

URL = "https://as.example/token"
CLIENT = ClientCredentials("app", "s3cret")


def form(request: HttpRequest) -> dict[str, str]:
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    fields = parse_qs((request.body or b"").decode(), keep_blank_values=True, strict_parsing=True)
    return {name: values[0] for name, values in fields.items()}


def test_a_code_is_exchanged_with_its_redirect_uri_and_verifier() -> None:
    request = code_request(
        TokenEndpoint(URL), CLIENT, code="c+/=&", redirect_uri="https://b.example/cb?x=1", verifier="v"
    )
    assert (request.method, request.url) == ("POST", URL)
    assert request.headers["accept"] == "application/json"
    assert form(request) == {
        "grant_type": "authorization_code",
        "code": "c+/=&",
        "redirect_uri": "https://b.example/cb?x=1",
        "code_verifier": "v",
        "client_id": "app",
        "client_secret": "s3cret",
    }


def test_no_verifier_is_sent_where_none_was_used() -> None:
    request = code_request(TokenEndpoint(URL), CLIENT, code="c", redirect_uri="r", verifier=None)
    assert "code_verifier" not in form(request)


def test_a_refresh_is_sent_as_json_where_the_endpoint_takes_json() -> None:
    request = refresh_request(TokenEndpoint(URL, body_format=BodyFormat.JSON), CLIENT, refresh_token="r")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body or b"") == {
        "grant_type": "refresh_token",
        "refresh_token": "r",
        "client_id": "app",
        "client_secret": "s3cret",
    }


def test_basic_encodes_id_and_secret_before_base64() -> None:
    client = ClientCredentials("app:1", "p%ss wörd")
    request = refresh_request(TokenEndpoint(URL, ClientAuth.BASIC), client, refresh_token="r")
    scheme, encoded = request.headers["authorization"].split()
    assert scheme == "Basic"
    assert b64decode(encoded) == b"app%3A1:p%25ss+w%C3%B6rd"
    assert form(request).keys() == {"grant_type", "refresh_token"}


def test_a_public_client_sends_its_id_and_no_secret() -> None:
    for how, secret in [(ClientAuth.NONE, "s3cret"), (ClientAuth.BODY, ""), (ClientAuth.BASIC, "")]:
        request = refresh_request(TokenEndpoint(URL, how), ClientCredentials("app", secret), refresh_token="r")
        assert form(request).keys() == {"grant_type", "refresh_token", "client_id"}
        assert "authorization" not in request.headers


def test_our_own_parameters_and_headers_win_over_the_files() -> None:
    endpoint = TokenEndpoint(
        URL,
        ClientAuth.BASIC,
        params={"resource": "x", "grant_type": "password"},
        headers={"User-Agent": "u", "Accept": "application/vnd.x+json", "Authorization": "no"},
    )
    request = refresh_request(endpoint, CLIENT, refresh_token="r")
    assert form(request) == {"resource": "x", "grant_type": "refresh_token", "refresh_token": "r"}
    assert request.headers["user-agent"] == "u"
    assert request.headers["accept"] == "application/vnd.x+json"
    assert request.headers["authorization"].startswith("Basic ")
    assert all(name == name.lower() for name in request.headers)


def test_a_revocation_names_the_token_and_its_kind() -> None:
    request = revocation_request(TokenEndpoint(URL), CLIENT, token="r", hint="refresh_token")
    assert form(request) == {
        "token": "r",
        "token_type_hint": "refresh_token",
        "client_id": "app",
        "client_secret": "s3cret",
    }


def test_neither_a_request_nor_credentials_show_a_secret() -> None:
    for how in ClientAuth:
        request = refresh_request(TokenEndpoint(URL + "?key=s3cret", how), CLIENT, refresh_token="s3cret-r")
        assert "s3cret" not in repr(request)
        assert "Basic" not in repr(request)
    assert "s3cret" not in repr(CLIENT)
