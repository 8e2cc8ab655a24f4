"""`authpipe configs`: the OAuth apps of builders, and which of them a provider refuses."""

from collections.abc import Mapping
from typing import Annotated, Any

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
from runtime.commands.printing import moment, print_one, print_page

PATH = "/api/provider-configs"
TITLES = ("id", "provider", "client id", "enabled", "held", "why", "next try")
ConfigId = Annotated[str, typer.Argument(help="The id that `list` shows.")]

configs = typer.Typer(no_args_is_help=True, help="The OAuth apps at providers: provider configs.")


@configs.command("list", epilog=examples("authpipe configs list --provider ID"))
def list_configs(
    provider: Annotated[str, typer.Option("--provider", help="Only those of this provider.")] = "",
    limit: LimitOption = DEFAULT_LIMIT,
    cursor: CursorOption = "",
    everything: AllOption = False,
    workspace: WorkspaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """List provider configs, and which are held because the provider refuses the app or fails for all."""
    page = listing(PATH, workspace, asked_for(limit, cursor, "", provider_id=provider), everything=everything)
    print_page(page, TITLES, _row, as_json=as_json)


@configs.command("show", epilog=examples("authpipe configs show ID"))
def show_config(config_id: ConfigId, workspace: WorkspaceOption = "default", as_json: JsonOption = False) -> None:
    """Show one, without its secrets. Ends with 1 if it is held: the provider refuses the app, or fails for all."""
    config = _ask(workspace, "GET", config_id)
    print_one(config, as_json=as_json)
    raise typer.Exit(NOT_SO if config.get("hold_kind") else DONE)


@configs.command("enable", epilog=examples("authpipe configs enable ID"))
def enable_config(config_id: ConfigId, workspace: WorkspaceOption = "default", as_json: JsonOption = False) -> None:
    """Let sessions be opened with it again."""
    print_one(_ask(workspace, "PATCH", config_id, {"enabled": True}), as_json=as_json)


@configs.command("disable", epilog=examples("authpipe configs disable ID"))
def disable_config(config_id: ConfigId, workspace: WorkspaceOption = "default", as_json: JsonOption = False) -> None:
    """Let no new session be opened with it. What is connected is refreshed and served as before."""
    print_one(_ask(workspace, "PATCH", config_id, {"enabled": False}), as_json=as_json)


def _row(config: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        config["id"],
        config["provider_id"],
        config["client_id"],
        config["enabled"],
        config.get("hold_kind"),
        config.get("held_reason"),
        moment(config.get("held_until")),
    )


def _ask(workspace: str, method: str, config_id: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    config: Mapping[str, Any] = answer(workspace, method, f"{PATH}/{in_path(config_id)}", body)
    return config
