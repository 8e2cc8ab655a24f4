"""`authpipe connections` and `authpipe installations`: which are hit, why, since when, and what to do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from runtime.commands import life_work
from runtime.commands.life_rows import TITLES, row_of
from runtime.commands.options import (
    DEFAULT_LIMIT,
    AllOption,
    CursorOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
    asked_for,
    examples,
    listing,
)
from runtime.commands.printing import print_page

Kind = Literal["connection", "installation"]
PATHS: Mapping[Kind, str] = {"connection": "/api/connections", "installation": "/api/installations"}
# What needs a person first, then what stumbles, then what ends soonest.
WORST_FIRST = "status:desc health token_expires_at id"
LIVING: Literal["living"] = "living"
STILL_THERE = {"in": ["active", "needs_reauth"]}
LifeId = Annotated[str, typer.Argument(help="The id that `list` shows.")]
ProviderOption = Annotated[str, typer.Option("--provider", help="Only those of this provider.")]
TenantOption = Annotated[str, typer.Option("--tenant", help="Only those of this tenant.")]
UserOption = Annotated[str, typer.Option("--user", help="Only those of this user of a tenant.")]
STATUS_HELP = "`living` are all that are not deleted; deleted ones are `{}`."
OverdueOption = Annotated[
    bool,
    typer.Option(
        "--overdue", help="Only active ones whose refresh was due five minutes ago; those that a hold keeps too."
    ),
]


def find_all(kind: Kind, workspace: str, limit: int, cursor: str, everything: bool, **filters: Any) -> dict[str, Any]:
    """The search that the options of `list` mean."""
    from vault.reconciling import OVERDUE  # not loaded for a help page

    living = filters["status"] == LIVING
    if filters.pop("overdue"):
        filters |= {"next_refresh_at": {"lt": (datetime.now(UTC) - OVERDUE).isoformat()}} | (
            {"status": "active"} if living else {}
        )
    elif living:
        filters["status"] = STILL_THERE
    return listing(PATHS[kind], workspace, asked_for(limit, cursor, WORST_FIRST, **filters), everything=everything)


connections = typer.Typer(no_args_is_help=True, help="The accounts that people have connected.")
installations = typer.Typer(no_args_is_help=True, help="The app as tenants have installed it.")


@connections.command(
    "list",
    help="List connections, what hurts first: which, why, since when, what to do. Deleted ones only by --status.",
    epilog=examples(
        "authpipe connections list --status needs_reauth",
        "authpipe connections list --overdue",
        "authpipe connections list --tenant acme --status revoked --json",
    ),
)
def list_connections(
    provider: ProviderOption = "",
    tenant: TenantOption = "",
    user: UserOption = "",
    status: Annotated[
        Literal["living", "active", "needs_reauth", "revoked"],
        typer.Option("--status", help=STATUS_HELP.format("revoked")),
    ] = LIVING,
    overdue: OverdueOption = False,
    limit: LimitOption = DEFAULT_LIMIT,
    cursor: CursorOption = "",
    everything: AllOption = False,
    workspace: WorkspaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    filters = {"provider_id": provider, "tenant_id": tenant, "user_id": user, "status": status, "overdue": overdue}
    _print("connection", find_all("connection", workspace, limit, cursor, everything, **filters), as_json=as_json)


@installations.command(
    "list",
    help="List installations, what hurts first: which, why, since when, what to do. Deleted ones only by --status.",
    epilog=examples(
        "authpipe installations list --status needs_reauth",
        "authpipe installations list --tenant acme --status deleted --json",
    ),
)
def list_installations(
    provider: ProviderOption = "",
    tenant: TenantOption = "",
    status: Annotated[
        Literal["living", "active", "needs_reauth", "deleted"],
        typer.Option("--status", help=STATUS_HELP.format("deleted")),
    ] = LIVING,
    overdue: OverdueOption = False,
    limit: LimitOption = DEFAULT_LIMIT,
    cursor: CursorOption = "",
    everything: AllOption = False,
    workspace: WorkspaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    filters = {"provider_id": provider, "tenant_id": tenant, "status": status, "overdue": overdue}
    _print("installation", find_all("installation", workspace, limit, cursor, everything, **filters), as_json=as_json)


def _print(kind: Kind, page: Mapping[str, Any], *, as_json: bool) -> None:
    titles = TITLES if kind == "connection" else tuple(title for title in TITLES if title != "user")

    def row(life: Mapping[str, Any]) -> list[Any]:
        cells = row_of(life)
        return [cells[title] for title in titles]

    print_page(page, titles, row, as_json=as_json)


def add_common(group: typer.Typer, kind: Kind) -> None:
    """What both kinds have beside `list`."""
    path = PATHS[kind]

    def example(text: str) -> str:
        return examples(f"authpipe {kind}s {text}")

    @group.command(
        help=f"Show one {kind} with its live state. Ends with 1 if it is not served.", epilog=example("show ID")
    )
    def show(life_id: LifeId, workspace: WorkspaceOption = "default", as_json: JsonOption = False) -> None:
        raise typer.Exit(life_work.show(path, workspace, life_id, as_json=as_json))

    @group.command(
        help="Tell its story in words: what is, what to do, what is next, what happened.",
        epilog=example("explain ID"),
    )
    def explain(life_id: LifeId, workspace: WorkspaceOption = "default", as_json: JsonOption = False) -> None:
        life_work.explain(path, workspace, life_id, as_json=as_json)

    @group.command(
        help="Refresh its credential now and wait for it, some seconds at most. "
        "Ends with 1 if there is no new credential, as where the one it has is only just made.",
        epilog=example("refresh ID"),
    )
    def refresh(life_id: LifeId, workspace: WorkspaceOption = "default", as_json: JsonOption = False) -> None:
        raise typer.Exit(life_work.refresh(path, workspace, life_id, as_json=as_json))

    @group.command(
        help=f"Delete one {kind}: it is served no more at once, and the provider is told. Prints how that went. "
        "Ends with 1 if the provider has not been told yet.",
        epilog=example("delete ID --yes"),
    )
    def delete(
        life_id: LifeId,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask to type the id.")] = False,
        wait: Annotated[
            float, typer.Option("--wait", min=0, max=300, help="Seconds to wait for the provider to be told.")
        ] = 10.0,
        workspace: WorkspaceOption = "default",
        as_json: JsonOption = False,
    ) -> None:
        life_work.confirm(life_id, yes=yes)
        raise typer.Exit(life_work.delete(path, workspace, life_id, wait, as_json=as_json))


add_common(connections, "connection")
add_common(installations, "installation")
