"""What every hosted page has, and how tests read one."""

import base64
import hashlib
import html
import re
from typing import Any
from urllib.parse import urlsplit

import httpx


def sha256_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy_of(answer: httpx.Response) -> dict[str, str]:
    parts = answer.headers["content-security-policy"].split(";")
    return {name: value for name, _, value in (part.strip().partition(" ") for part in parts)}


def check_page(answer: httpx.Response, *, script: bool = False, form: str = "'none'") -> None:
    """Not framed, not kept, no third party; only the style, the script and the form target that belong to it."""
    headers, text, policy = answer.headers, answer.text, policy_of(answer)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "cross-origin-opener-policy" not in headers, "it would cut the window off from the page that opened it"
    scripts = re.findall(r"<script\b[^>]*>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert policy == {
        "default-src": "'none'",
        "script-src": sha256_source(scripts[0]) if script else "'none'",
        "style-src": sha256_source(style),
        "base-uri": "'none'",
        "form-action": form,
        "frame-ancestors": "'none'",
    }
    assert len(scripts) == script == text.lower().count("<script")
    assert text.count("<form") == (form != "'none'")
    assert not re.findall(r"\s(?:src|action|on\w+)\s*=\s*[\"']|<link|<iframe|@import|http-equiv", text)
    assert "url(" not in style
    _check_structure(text)


def _check_structure(text: str) -> None:
    assert '<html lang="en">' in text
    assert re.search(r"<title>[^<]+</title>", text)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    for element in ("h1", "main", "header", "footer"):
        assert len(re.findall(f"<{element}[ >]", text)) == 1, element
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels == sorted(levels)
    assert levels[0] == 1
    inputs = re.findall(r"<input\b[^>]*>", text)
    labelled = re.findall(r"<label\b[^>]*><input\b[^>]*>", text)
    assert len(labelled) == len([i for i in inputs if 'type="hidden"' not in i])


def words(answer: httpx.Response) -> str:
    """What a person reads, without the markup."""
    text = re.sub(r"<(style|script|title)\b.*?</\1>", " ", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def heading(answer: httpx.Response) -> str:
    (found,) = re.findall(r"<h1>(.*?)</h1>", answer.text)
    return html.unescape(found)


def page_code(answer: httpx.Response) -> tuple[int, str]:
    """Status and stable code of a refusal."""
    assert answer.headers["content-type"].startswith("text/html"), answer.text
    return answer.status_code, answer.text.split('<p class="code">')[1].split("<")[0]


def refused_with(answer: httpx.Response) -> str:
    """The code of the refusal that the callback sends a browser on to read; nothing else stands in that address."""
    assert answer.status_code == 303, answer.text
    assert answer.content == b""
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    found = re.fullmatch(r"/oauth/refused/([a-z_]+)", answer.headers["location"])
    assert found, answer.headers["location"]
    return found[1]


def form_of(answer: httpx.Response) -> tuple[str, dict[str, str]]:
    """The form's token, and the ids of the sites by name."""
    (token,) = re.findall(r'name="form" value="([^"]+)"', answer.text)
    found = re.findall(r'name="site" value="([^"]+)" required> <span><strong>(.*?)</strong>', answer.text)
    return token, {html.unescape(name): html.unescape(site_id) for site_id, name in found}


def path_of(answer: httpx.Response) -> str:
    """Where a redirect leads, without its origin and query."""
    assert answer.status_code == 303, answer.text
    return urlsplit(answer.headers["location"]).path


def script_data(answer: httpx.Response) -> dict[str, Any]:
    """The attributes that the one script reads."""
    (attributes,) = re.findall(r"<script\b([^>]*)>", answer.text)
    return {name: html.unescape(value) for name, value in re.findall(r'data-([\w-]+)="([^"]*)"', attributes)}
