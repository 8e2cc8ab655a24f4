"""What several groups share: options, exit codes, asking one route, and the paging of their lists."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from runtime.progress import progress

DONE = 0
NOT_SO = 1
DEFAULT_LIMIT = 50
MAX_LIMIT = 200

WorkspaceOption = Annotated[str, typer.Option("--workspace", help="Id of the workspace to look in.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="Rows of one page.")]
CursorOption = Annotated[str, typer.Option("--cursor", help="Go on where a page ended; it printed the cursor.")]
AllOption = Annotated[bool, typer.Option("--all", help="Print every page.")]


def answer(workspace: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The JSON that one route answers. Raises `asking.Refusal`."""
    # The application is not loaded for a help page.
    from runtime.commands.asking import Operator, as_operator

    async def work(operator: Operator) -> Any:
        return (await operator.ask(method, path, body)).body

    return as_operator(workspace, work)


def listing(path: str, workspace: str, asked: Mapping[str, Any], *, everything: bool) -> dict[str, Any]:
    """A page of a search, or all of them joined into one. `path` is the resource's, as in `/api/connections`."""
    from runtime.commands.asking import Operator, as_operator

    async def work(operator: Operator) -> dict[str, Any]:
        body = dict(asked) | ({"limit": MAX_LIMIT} if everything else {})
        page: dict[str, Any] = (await operator.ask("POST", f"{path}/search", body)).body
        while everything and page["has_more"]:
            more = (await operator.ask("POST", f"{path}/search", body | {"cursor": page["next_cursor"]})).body
            told("Reading", len(page["data"]), 0)
            page = more | {"data": page["data"] + more["data"], "limit": len(page["data"]) + len(more["data"])}
        return page

    with progress() as told:
        return as_operator(workspace, work)


def asked_for(limit: int, cursor: str, sort: str, **filters: Any) -> dict[str, Any]:
    """The body of a search. `sort` is `field field:desc …`; filters without a value are left out."""
    by = [directive.partition(":") for directive in sort.split()]
    return {
        "limit": limit,
        "cursor": cursor,
        "sort": [{"field": field, "direction": way or "asc"} for field, _, way in by],
        "filter": {
            name: value if isinstance(value, dict) else {"eq": value} for name, value in filters.items() if value
        },
    }


def examples(*lines: str) -> str:
    """The end of a help page: a command a line."""
    # An empty line is what keeps typer from joining them.
    return "\n\n".join(("Example:" if len(lines) == 1 else "Examples:", *lines))


def in_path(row_id: str) -> str:
    """An id as a part of a path: whatever is typed, it stays one part."""
    return quote(row_id, safe="") or "-"
