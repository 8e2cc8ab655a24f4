"""The table of refusals: codes are what callers program against, so they are pinned here."""

import re

import pytest

from domain.errors import CODES, FieldError, Problem

STATUSES = {
    "bad_request": 422,
    "malformed_json": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "not_connected": 404,
    "needs_reauth": 409,
    "ambiguous": 409,
    "origin_not_allowed": 403,
    "cross_site_form": 403,
    "refresh_pending": 503,
    "temporal_unavailable": 503,
    "database_unavailable": 503,
    "internal": 500,
}


@pytest.mark.parametrize(("code", "status"), STATUSES.items())
def test_a_code_keeps_its_status(code: str, status: int) -> None:
    assert CODES[code].status == status


@pytest.mark.parametrize("row", CODES.values(), ids=lambda row: row.code)
def test_every_refusal_says_what_happened_and_what_to_do(row: object) -> None:
    code, status, title, remedy = (getattr(row, name) for name in ("code", "status", "title", "remedy"))
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    assert 400 <= status <= 599
    assert title
    assert not title.endswith(".")
    assert remedy.endswith(".")


def test_no_two_rows_share_a_code() -> None:
    assert all(code == row.code for code, row in CODES.items())


def test_a_problem_without_a_detail_says_its_title() -> None:
    problem = Problem("not_connected")
    assert problem.detail == "Not connected"
    assert str(problem) == "not_connected: Not connected"


def test_a_problem_carries_fields_candidates_and_the_time_to_wait() -> None:
    problem = Problem("ambiguous", "Two fit.", errors=(FieldError("a", "b"),), candidates=({"id": "1"},), retry_after=2)
    assert (problem.detail, problem.errors[0].location, problem.candidates, problem.retry_after) == (
        "Two fit.",
        "a",
        ({"id": "1"},),
        2,
    )


def test_a_code_outside_the_table_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        Problem("made_up")
