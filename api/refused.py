"""`/oauth/refused/{code}`: why an answer of the provider was not taken. Nothing but that stands in its address."""

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from api.done import elsewhere
from api.hosted import HEADERS, page, wants_json
from api.outcomes import words_of_refusal
from api.problems import respond
from domain.errors import Problem

router = APIRouter(tags=["pages"])

GENERAL = "internal"


@router.get("/oauth/refused/{code}", summary="Why an answer of the provider was not taken", response_class=Response)
async def refused(code: str) -> Response:
    """200: this page is found and whole, and anybody may open it; what was refused is the request that led here.

    An error's status would set off alarms for the server, and proxies put pages of their own in its place.
    """
    words = words_of_refusal(code)
    if words is None:
        return elsewhere()
    return page("message.html", title=words.title, detail=words.happened, remedy=words.remedy, code=code)


def refuse(request: Request, problem: Problem) -> Response:
    """Problem JSON for a program; a browser goes on to the page, so that its address bar keeps no code and no state."""
    if wants_json(request):
        return respond(request, problem)
    code = problem.row.code if words_of_refusal(problem.row.code) else GENERAL
    # Without an origin: the browser stays on the one it asked, whatever a forged answer says.
    return RedirectResponse(f"/oauth/refused/{code}", 303, HEADERS)
