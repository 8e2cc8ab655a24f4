"""Where a browser may be sent: an open redirect hands codes and people to strangers."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from domain.redirects import (
    done_url,
    host_of,
    is_allowed,
    origin_of,
    origin_text,
    sites_url,
    visit_url,
    with_query,
)

OURS = "https://app.example.com/oauth/callback"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://app.example.com/x", ("https", "app.example.com", 443)),
        ("https://app.example.com:443/x", ("https", "app.example.com", 443)),
        ("http://localhost:8080", ("http", "localhost", 8080)),
        ("HTTPS://APP.example.com/", ("https", "app.example.com", 443)),
        ("http://[::1]:9300/", ("http", "::1", 9300)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str, int]) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "//app.example.com/x",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://app.example.com/",
        "https://",
        "https:///x",
        "https://user@app.example.com/",
        "https://user:pass@app.example.com/",
        "https://@app.example.com/",
        "https://evil.example\\@app.example.com/",
        "https:\\\\app.example.com/",
        "https://evil.example\\.app.example.com/",
        "https://app.example.com:99999/",
        "https://app.example.com:port/",
        "https://[::1/",
        "https://app.example.com/\nx",
        "https://app.example.com/ x",
        " https://app.example.com/",
        "https://app.example.com\x00/",
        "https://app.example.com\x7f/",
        "ht\ttps://app.example.com/",
    ],
)
def test_what_a_browser_may_read_otherwise_has_no_origin(url: str) -> None:
    assert origin_of(url) is None
    assert not is_allowed(url, None, OURS)
    assert not is_allowed(url, [url], OURS)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://app.example.com/anything?x=1", True),
        ("https://app.example.com:443/", True),
        ("https://app.example.com:8443/", False),
        ("http://app.example.com/", False),
        ("https://example.com/", False),
        ("https://app.example.com.evil.example/", False),
        ("https://evilapp.example.com/", False),
        ("https://app.example.com@evil.example/", False),
        ("https://evil.example/?https://app.example.com/", False),
    ],
)
def test_without_a_list_the_origin_must_be_ours(url: str, allowed: bool) -> None:
    assert is_allowed(url, None, OURS) is allowed
    assert is_allowed(url, [], OURS) is allowed


def test_localhost_and_its_address_are_two_origins() -> None:
    assert not is_allowed("http://127.0.0.1:8080/", None, "http://localhost:8080/oauth/callback")


def test_with_a_list_the_whole_url_must_stand_in_it() -> None:
    listed = ["https://other.example.com/done"]
    assert is_allowed("https://other.example.com/done", listed, OURS)
    for other in ("https://other.example.com/done/", "https://other.example.com/done?x", "https://app.example.com/"):
        assert not is_allowed(other, listed, OURS)


@pytest.mark.parametrize(("url", "name"), [(visit_url, "visit"), (sites_url, "sites"), (done_url, "done")])
def test_our_pages_lie_on_the_origin_of_the_redirect_url(url: Callable[[str, str], str], name: str) -> None:
    assert url("http://localhost:8080/deep/callback?x=1#y", "ses_1") == f"http://localhost:8080/oauth/{name}/ses_1"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://app.example.com/x?y", "https://app.example.com"),
        ("HTTPS://APP.example.com:443", "https://app.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://localhost:80/", "http://localhost"),
        ("https://app.example.com:80", "https://app.example.com:80"),
        ("http://[::1]:9300/x", "http://[::1]:9300"),
        ("https://münchen.example/", "https://xn--mnchen-3ya.example"),
        ("https://a;script-src.example/", None),
        ("https://a'b.example/", None),
        ("https://*.example.com/", None),
        ("https://a,b/", None),
        ("https://[fe80::1%25eth0]/", None),
        ("https://" + "a" * 70 + ".example/", None),
        ("null", None),
        ("*", None),
        ("", None),
    ],
)
def test_an_origin_is_written_as_browsers_write_it_and_fits_a_header_or_is_none(url: str, text: str | None) -> None:
    assert origin_text(url) == text


def test_the_host_is_what_a_person_reads_in_the_address_bar() -> None:
    assert host_of("https://App.example.com:8443/x") == "app.example.com"
    assert host_of("") == host_of("javascript:alert(1)") == ""


def test_what_is_added_to_a_url_keeps_the_rest_and_replaces_its_own() -> None:
    url = with_query("https://app.example.com/done?a=1&empty=&status=forged#part", {"status": "ok", "x": "a b&c"})
    parts = urlsplit(url)
    assert parse_qs(parts.query, keep_blank_values=True) == {
        "a": ["1"],
        "empty": [""],
        "status": ["ok"],
        "x": ["a b&c"],
    }
    assert parts.fragment == "part"
