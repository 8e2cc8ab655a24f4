"""The few pages a person sees: plain HTML, no script, light or dark as the browser prefers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simulator.model import Person, Site
from simulator.world import AuthorizationRequest

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_HEADERS = {
    # No form-action: browsers apply it to the redirect that follows the form, which leads to the app.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


def _page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(template).render(values), status, _HEADERS)


def message(title: str, text: str, status: int) -> HTMLResponse:
    return _page("message.html", status, title=title, text=text)


def sign_in(request_id: str, asked: AuthorizationRequest, people: list[Person]) -> HTMLResponse:
    return _page("sign_in.html", request_id=request_id, asked=asked, people=people)


def consent(
    request_id: str, asked: AuthorizationRequest, person: Person, sites: list[Site], *, picks_sites: bool
) -> HTMLResponse:
    return _page(
        "consent.html",
        request_id=request_id,
        asked=asked,
        person=person,
        sites=sites,
        picks_sites=picks_sites,
    )


def index(people: list[Person], sites: Mapping[str, Site], admin_calls: list[tuple[str, str]]) -> HTMLResponse:
    return _page("index.html", people=people, sites=sites, admin_calls=admin_calls)
