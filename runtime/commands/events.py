"""`authpipe events`: what happened, whether the builder's backend heard of it, and sending it again."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from runtime.commands.options import (
    DEFAULT_LIMIT,
    DONE,
    NOT_SO,
    AllOption,
    CursorOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
    answer,
    asked_for,
    examples,
    in_path,
    listing,
)
from runtime.commands.printing import document, moment, print_one, print_page, say
from runtime.errors import StartError
from runtime.progress import Told, progress

PATH = "/api/events"
TITLES = ("id", "at", "type", "of", "delivery", "tries", "last error")
EventId = Annotated[str, typer.Argument(help="The id that `list` shows.")]

events = typer.Typer(no_args_is_help=True, help="What happened, and its delivery to the builder's webhook.")


@events.command(
    "list",
    epilog=examples("authpipe events list --delivery dead", "authpipe events list --connection ID --all --json"),
)
def list_events(
    kind: Annotated[str, typer.Option("--type", help="Only this type, such as `connection.needs_reauth`.")] = "",
    connection: Annotated[str, typer.Option("--connection", help="Only those of this connection.")] = "",
    installation: Annotated[str, typer.Option("--installation", help="Only those of this installation.")] = "",
    delivery: Annotated[
        Literal["any", "none", "pending", "delivered", "dead"],
        typer.Option("--delivery", help="Only those: `none` were not to be delivered, `dead` were given up."),
    ] = "any",
    limit: LimitOption = DEFAULT_LIMIT,
    cursor: CursorOption = "",
    everything: AllOption = False,
    workspace: WorkspaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """List events, newest first, with how their delivery stands."""
    filters = {
        "event_type": kind,
        "connection_id": connection,
        "installation_id": installation,
        "delivery": "" if delivery == "any" else delivery,
    }
    page = listing(PATH, workspace, asked_for(limit, cursor, "", **filters), everything=everything)
    print_page(page, TITLES, _row, as_json=as_json)


@events.command("show", epilog=examples("authpipe events show ID"))
def show_event(event_id: EventId, workspace: WorkspaceOption = "default", as_json: JsonOption = False) -> None:
    """Show one event with its data. Ends with 1 if its delivery was given up."""
    found = listing(PATH, workspace, asked_for(1, "", "", id=event_id), everything=False)["data"]
    if not found:
        raise StartError("not_found: there is no event of that id; see `authpipe events list`")
    print_one(found[0], as_json=as_json)
    raise typer.Exit(NOT_SO if found[0]["delivery"] == "dead" else DONE)


@events.command("replay", epilog=examples("authpipe events replay ID", "authpipe events replay --dead"))
def replay_events(
    event_id: Annotated[str, typer.Argument(help="The id that `list` shows; leave it out with --dead.")] = "",
    dead: Annotated[bool, typer.Option("--dead", help="Every event whose delivery was given up.")] = False,
    workspace: WorkspaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Send an event again, or all that were given up; this puts them in the queue, and a worker delivers them."""
    if bool(event_id) is dead:
        raise StartError("events replay: name one event, or add --dead; not both")
    ids = _dead(workspace) if dead else [event_id]
    with progress() as told:
        queued = _replay(workspace, ids, told)
    if as_json:
        document({"data": queued})
    else:
        say(f"{len(queued)} {'event is' if len(queued) == 1 else 'events are'} in the queue again.")


@events.command("webhook", epilog=examples("authpipe events webhook"))
def show_webhook(workspace: WorkspaceOption = "default", as_json: JsonOption = False) -> None:
    """Show where events go and how that fares. Ends with 1 if they go nowhere, or are held back."""
    endpoint = answer(workspace, "GET", "/api/webhook-config")
    print_one(endpoint, as_json=as_json)
    raise typer.Exit(NOT_SO if endpoint.get("disabled_at") or endpoint.get("paused_until") else DONE)


def _row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        event["id"],
        moment(event["created_at"]),
        event["event_type"],
        event.get("connection_id") or event.get("installation_id") or event.get("provider_config_id"),
        event["delivery"],
        event["delivery_attempts"],
        event.get("last_error"),
    )


def _dead(workspace: str) -> list[str]:
    asked = asked_for(DEFAULT_LIMIT, "", "created_at id", delivery="dead")
    return [event["id"] for event in listing(PATH, workspace, asked, everything=True)["data"]]


def _replay(workspace: str, ids: list[str], told: Told) -> list[Any]:
    from runtime.commands.asking import Operator, as_operator

    async def work(operator: Operator) -> list[Any]:
        queued = []
        for number, event_id in enumerate(ids, start=1):
            queued.append((await operator.ask("POST", f"{PATH}/{in_path(event_id)}/replay")).body)
            told("Queueing", number, len(ids))
        return queued

    return as_operator(workspace, work)
