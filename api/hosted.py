"""The hosted pages: one template set and one design, no third party, cannot be framed. A script on one page alone.

They set no opener policy of their own: the page that opened the window is told how it ended.
"""

import base64
import hashlib
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from api.outcomes import words_of_refusal
from api.problems import FORESEEN, problem_of, respond
from domain.errors import Problem
from domain.redirects import host_of
from vault.tables import AuthSession, ProviderConfig

FOLDER = Path(__file__).parent / "pages"


def _hash(text: str) -> str:
    """As a source of a content security policy (CSP level 3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


STYLE = (FOLDER / "style.css").read_text()
SCRIPT = (FOLDER / "done.js").read_text()
STYLE_SOURCE, SCRIPT_SOURCE = _hash(STYLE), _hash(SCRIPT)

templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)


def _policy(script: str, form_targets: Sequence[str]) -> str:
    return (
        f"default-src 'none'; script-src {script}; style-src {STYLE_SOURCE}; base-uri 'none'; "
        f"form-action {' '.join(form_targets)}; frame-ancestors 'none'"
    )


HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": _policy("'none'", ("'none'",)),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """One page with the headers that every page has."""
    return _rendered(template, status, HEADERS, values)


def page_with_script(template: str, **values: Any) -> HTMLResponse:
    """A page whose template holds our one script."""
    policy = {"content-security-policy": _policy(SCRIPT_SOURCE, ("'none'",))}
    return _rendered(template, 200, HEADERS | policy, values | {"script": SCRIPT})


def page_with_form(template: str, status: int, leads_to: str | None, **values: Any) -> HTMLResponse:
    """A page whose form is sent to us and may be redirected on to the origin `leads_to`.

    Chromium holds redirects after a form to `form-action` too.
    """
    targets = ("'self'", leads_to) if leads_to else ("'self'",)
    policy = {"content-security-policy": _policy("'none'", targets)}
    return _rendered(template, status, HEADERS | policy, values)


def _rendered(template: str, status: int, headers: dict[str, str], values: dict[str, Any]) -> HTMLResponse:
    given = {"application": "", "style": STYLE} | values
    return HTMLResponse(templates.get_template(template).render(given), status, headers)


def host_for(session: AuthSession) -> str:
    """Where the person came from, as their address bar named it."""
    return host_of(session.redirect_url) or host_of(session.opener_origin) or host_of(session.oauth_redirect_url)


def application_of(session: AuthSession, config: ProviderConfig | None) -> str:
    """The builder's name, or what stands for it."""
    return (config.display_name if config else None) or host_for(session)


async def shown(request: Request, made: Awaitable[Response]) -> Response:
    """What was made, or the refusal that came instead: whatever hinders it, a person sees a page."""
    try:
        return await made
    except FORESEEN as error:
        return refusal(request, problem_of(request, error))


def refusal(request: Request, problem: Problem, application: str = "") -> Response:
    """A page where a person looks, problem JSON where a program asks for JSON. It names the builder where one can."""
    if wants_json(request):
        return respond(request, problem)
    row, words = problem.row, words_of_refusal(problem.row.code)
    detail = problem.detail if problem.detail != row.title else words.happened if words else ""
    said = {"title": row.title, "detail": detail, "remedy": row.remedy, "code": row.code}
    return page("message.html", row.status, application=application, **said)


def wants_json(request: Request) -> bool:
    """Whether the caller names JSON and not HTML."""
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept
