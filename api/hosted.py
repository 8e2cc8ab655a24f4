"""The hosted pages: one template set, no script, no third party, cannot be framed."""

import base64
import hashlib
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from api.problems import FORESEEN, problem_of, respond
from domain.errors import Problem

FOLDER = Path(__file__).parent / "pages"
STYLE = (FOLDER / "style.css").read_text()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """One page with the headers that every page has."""
    text = templates.get_template(template).render(style=STYLE, **values)
    return HTMLResponse(text, status, HEADERS)


async def shown(request: Request, made: Awaitable[Response]) -> Response:
    """What was made, or the refusal that came instead: whatever hinders it, a person sees a page."""
    try:
        return await made
    except FORESEEN as error:
        return refusal(request, problem_of(request, error))


def refusal(request: Request, problem: Problem) -> Response:
    """A page where a person looks, problem JSON where a program asks for JSON."""
    if wants_json(request):
        return respond(request, problem)
    row = problem.row
    return page("message.html", row.status, title=row.title, detail=problem.detail, remedy=row.remedy, code=row.code)


def wants_json(request: Request) -> bool:
    """Whether the caller names JSON and not HTML."""
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept
