"""`/`, and what a browser is shown where there is nothing: a page of ours, never a program's answer."""

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from api.deps import DepsOf
from api.hosted import HEADERS, page
from api.problems import problem_of_status, respond

router = APIRouter(include_in_schema=False)

PAGES = "/oauth/"
# The words of the API are for programmers; here a person followed a link.
NOWHERE = ("This page is not there", "The link may be incomplete.", "Start again from the application you came from.")


@router.get("/")
async def home(deps: DepsOf) -> Response:
    """Development begins at the demo; elsewhere nobody has any business here, and is told what this is."""
    if deps.development and deps.demo is not None:
        return RedirectResponse("/demo", 307, HEADERS)
    return page("home.html")


def install(app: FastAPI) -> None:
    """The handler for paths and methods that are not there."""

    @app.exception_handler(HTTPException)
    async def _nowhere(request: Request, error: HTTPException) -> Response:
        problem = problem_of_status(error.status_code)
        if not (request.url.path.startswith(PAGES) and "text/html" in request.headers.get("accept", "")):
            return respond(request, problem)
        title, detail, remedy = NOWHERE
        said = {"title": title, "detail": detail, "remedy": remedy, "code": problem.row.code}
        return page("message.html", problem.row.status, **said)
