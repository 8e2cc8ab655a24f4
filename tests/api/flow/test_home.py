"""Where there is nothing to see: the root, and addresses that are not there."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.deps import ApiDeps, DemoPlaces
from tests.api.flow.hosted import check_page, heading, page_code, words

HERE = "http://localhost:8080"
PLACES = DemoPlaces("jira", "authpipe-dev", (HERE, "http://127.0.0.1:8080"), "http://127.0.0.1:9300", HERE)
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
Reach = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def reach(deps: ApiDeps) -> AsyncIterator[Reach]:
    """`reach(demo=PLACES)`: a browser before an application that is otherwise the usual one."""
    opened: list[httpx.AsyncClient] = []

    def make(base: str = HERE, **changes: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(create_app(replace(deps, **changes)))
        opened.append(httpx.AsyncClient(transport=transport, base_url=base, headers=BROWSER))
        return opened[-1]

    yield make
    for client in opened:
        await client.aclose()


async def test_in_development_the_root_leads_to_the_demo(reach: Reach) -> None:
    answer = await reach(demo=PLACES).get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/demo")


@pytest.mark.parametrize("changes", [{"development": False, "demo": PLACES}, {"demo": None}])
async def test_elsewhere_the_root_is_a_small_page_and_names_no_demo(reach: Reach, changes: dict[str, Any]) -> None:
    answer = await reach(**changes).get("/")
    check_page(answer)
    assert (answer.status_code, heading(answer)) == (200, "This is Authpipe")
    assert "demo" not in words(answer).lower()


@pytest.mark.parametrize("path", ["/demo", "/demo/"])
async def test_the_demo_is_found_with_and_without_a_slash(reach: Reach, path: str) -> None:
    answer = await reach(demo=PLACES).get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_the_demo_is_opened_under_the_one_origin_that_the_pages_cookies_belong_to(reach: Reach) -> None:
    answer = await reach("http://127.0.0.1:8080", demo=PLACES).get("/demo")
    assert (answer.status_code, answer.headers["location"]) == (307, f"{HERE}/demo")


@pytest.mark.parametrize("path", ["/oauth/nothing", "/oauth/visit", "/oauth/visit/a/b", "/oauth/done/a/b", "/oauth/"])
async def test_a_person_who_follows_a_broken_link_gets_a_page(reach: Reach, path: str) -> None:
    answer = await reach().get(path)
    check_page(answer)
    assert page_code(answer) == (404, "not_found")
    assert heading(answer) == "This page is not there"


@pytest.mark.parametrize(("method", "path"), [("POST", "/oauth/visit/x"), ("GET", "/oauth/installs")])
async def test_a_browser_that_asks_in_another_way_gets_a_page_too(reach: Reach, method: str, path: str) -> None:
    answer = await reach().request(method, path)
    check_page(answer)
    assert page_code(answer) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "accept"), [("/oauth/nothing", "*/*"), ("/oauth/nothing", "application/json"), ("/api/x", "text/html")]
)
async def test_programs_get_problem_json(reach: Reach, path: str, accept: str) -> None:
    answer = await reach().get(path, headers={"accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


def pages_of(app: FastAPI) -> list[str]:
    """Every address that the API document names, with something in its gaps, and those it does not name."""
    described = {re.sub(r"\{\w+\}", "x", path) for path, methods in app.openapi()["paths"].items() if "get" in methods}
    return sorted(described | UNDESCRIBED)


UNDESCRIBED = {"/", "/demo", "/docs", "/docs/oauth2-redirect", "/redoc", "/oauth/nothing"}


@pytest.mark.parametrize("development", [True, False])
async def test_no_page_names_another_origin_or_may_be_framed(reach: Reach, deps: ApiDeps, development: bool) -> None:
    http, seen = reach(development=development, demo=PLACES), []
    for path in pages_of(create_app(deps)):
        answer = await http.get(path)
        if answer.headers.get("content-type", "").startswith("text/html"):
            seen.append(path)
            assert not re.findall(r"(?:https?:)?//[\w.-]+", answer.text), path
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
    assert {"/oauth/visit/x", "/oauth/done/x"} <= set(seen)
    assert ("/demo" in seen) is development


@pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect", "/redoc"])
async def test_no_page_of_the_framework_is_served(reach: Reach, path: str) -> None:
    assert (await reach(demo=PLACES).get(path)).status_code == 404
    assert (await reach().get("/openapi.json")).status_code == 200
