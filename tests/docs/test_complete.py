"""Everything that can be typed, called, set or met has its place in the documentation, and nothing else does.

Settings are held by `tests/runtime/test_settings.py`, keys of provider files by `tests/providers/test_docs.py`, and the
codes in `docs/failures.md` by `tests/domain/oauth/test_failures.py`.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from activities import refresh
from activities.upstream import KEPT_SHARED
from api import app as api
from api import auth, life_views, outcomes
from domain import checkup
from domain.errors import CODES
from domain.oauth.failures import FailureCode, FailureKind
from providers.catalog import load_catalog
from providers.flows import Upstream
from runtime.cli import app as command
from tests.docs.reading import ROOT, names, rows, section, text_of

API, COMMANDS, ERRORS = (text_of(f"docs/{name}.md") for name in ("api", "commands", "errors"))
WHO = {"opener": auth.anyone, "secret key": auth.secret_only}
OTHERS = {"anybody", "the visitor", "secret key or the visitor"}


def routes(routers: Any) -> Iterator[APIRoute]:
    """Every route of the API, those beside the OpenAPI document included."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                yield route
            else:
                yield from routes([route.original_router])


def served() -> dict[str, APIRoute]:
    found = {
        f"{method} {route.path}": route
        for route in routes(api.ROUTERS)
        for method in (route.methods or set()) - {"HEAD"}
    }
    return {name: route for name, route in found.items() if not name.split()[1].startswith("/demo")}


def asks(dependant: Dependant) -> Iterator[Any]:
    """Everything a route depends on."""
    for part in dependant.dependencies:
        yield part.call
        yield from asks(part)


def commands(group: Any, path: tuple[str, ...] = ("authpipe",)) -> Iterator[tuple[str, Any]]:
    """Every command with its arguments as they are typed."""
    for name, inner in getattr(group, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if not hasattr(group, "commands"):
        arguments = [part.name.upper() for part in group.params if part.param_type_name == "argument"]
        yield " ".join((*path, *arguments)), group


COMMAND = dict(commands(typer.main.get_command(command)))


def test_every_route_has_its_line_and_every_line_its_route() -> None:
    assert sorted(names(section_of_routes())) == sorted(served())


def section_of_routes() -> str:
    return "\n".join(line for line in API.splitlines() if re.match(r"\| `[A-Z]+ /", line))


def test_every_documented_operation_is_among_the_routes() -> None:
    document = api.openapi_document()["paths"]
    operations = {f"{method.upper()} {path}" for path, methods in document.items() for method in methods}
    assert operations <= set(served())


@pytest.mark.parametrize("line", rows(section_of_routes()), ids=lambda line: line[0].strip("`"))
def test_a_route_says_who_may_call_it(line: list[str]) -> None:
    asked = set(asks(served()[line[0].strip("`")].dependant))
    who = line[1]
    assert who in WHO or who in OTHERS
    assert [name for name, check in WHO.items() if check in asked] == ([who] if who in WHO else [])


def test_every_command_has_its_line_with_its_arguments() -> None:
    told = [name for name in names(COMMANDS) if name.startswith("authpipe ")]
    assert sorted(told) == sorted(COMMAND)


def test_every_option_has_its_line_with_command_and_default() -> None:
    told = {
        (option.strip("`"), name.strip("` "), default.strip("`"))
        for option, of, default, _ in rows(section(COMMANDS, "`authpipe`"))[len(COMMAND) :]
        for name in of.split(",")
    }
    there = {
        (part.opts[0], name.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ_ "), str(part.default).replace("False", "off"))
        for name, inner in COMMAND.items()
        for part in inner.params
        if part.param_type_name == "option"
    }
    assert told == there


def test_every_script_of_the_distribution_is_named() -> None:
    project = section_of_pyproject("project.scripts")
    assert [name for name in re.findall(r"^([\w-]+) = ", project, re.MULTILINE) if f"`{name}`" not in COMMANDS] == []


def section_of_pyproject(name: str) -> str:
    return text_of("pyproject.toml").partition(f"[{name}]\n")[2].partition("\n[")[0]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), re.MULTILINE))


def test_every_make_target_has_its_line() -> None:
    told = [name.removeprefix("make ") for name in names(section(COMMANDS, "`make`"))]
    assert sorted(told) == sorted(targets())


def test_every_error_has_its_line_with_status_title_and_remedy() -> None:
    told = [tuple(cells) for cells in rows(section(ERRORS, "Codes"))]
    assert told == [(f"`{row.code}`", str(row.status), row.title, row.remedy) for row in CODES.values()]


def test_every_reason_of_an_attempt_has_its_line() -> None:
    assert sorted(names(section(ERRORS, "Reasons of an attempt"))) == sorted(outcomes._WORDS)


def test_every_reason_of_a_life_has_its_line() -> None:
    """A code belongs to an exchange, so it cannot be the end of a life."""
    dead = {code for code in FailureCode if code.kind is FailureKind.USER} - {FailureCode.CODE_REFUSED}
    dead |= {rule.code for entry in load_catalog().values() for rule in entry.failures if rule.kind is FailureKind.USER}
    there = dead | {refresh.ROTATION_LOST, checkup.TOKEN_REFUSED, checkup.SITE_LOST, checkup.SCOPES_LOST}
    told = section(ERRORS, "Reasons of a life").partition("| upstream")[0]
    assert sorted(names(told)) == sorted(there)


def test_every_way_a_deletion_can_go_has_its_line() -> None:
    told = section(ERRORS, "Reasons of a life").partition("| upstream")[2]
    assert sorted(names(told)) == sorted({*Upstream, KEPT_SHARED, life_views.PENDING})


def test_every_warning_has_its_line() -> None:
    given = re.findall(r'"([a-z_]+)"', text_of("domain/serving.py").partition("class Served")[2])
    assert sorted(names(section(ERRORS, "Warnings"))) == sorted(set(given))


def test_every_file_that_architecture_names_is_there() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+[\w.-]*)`", text_of("docs/architecture.md")))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
