"""`authpipe providers`: the catalog, and what is wrong with its files."""

from operator import itemgetter
from typing import Annotated

import typer

from runtime.commands.options import (
    DEFAULT_LIMIT,
    AllOption,
    CursorOption,
    JsonOption,
    LimitOption,
    answer,
    asked_for,
    examples,
    in_path,
    listing,
)
from runtime.commands.printing import card, document, print_page, say

PATH = "/api/providers"
FIELDS = ("id", "name", "category", "auth_user", "auth_installation", "verified")
TITLES = ("id", "name", "category", "users", "installations", "verified")

providers = typer.Typer(no_args_is_help=True, help="The catalog: the built-in providers and your own files.")


@providers.command("list", epilog=examples("authpipe providers list --category crm"))
def list_providers(
    category: Annotated[str, typer.Option("--category", help="Only those of this category.")] = "",
    limit: LimitOption = DEFAULT_LIMIT,
    cursor: CursorOption = "",
    everything: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the providers that can be connected."""
    page = listing(PATH, "default", asked_for(limit, cursor, "", category=category), everything=everything)
    print_page(page, TITLES, itemgetter(*FIELDS), as_json=as_json)


@providers.command("show", epilog=examples("authpipe providers show ID"))
def show_provider(
    provider_id: Annotated[str, typer.Argument(help="The id that `list` shows.")], as_json: JsonOption = False
) -> None:
    """Show one provider, and how to register an app there."""
    provider = answer("default", "GET", f"{PATH}/{in_path(provider_id)}")
    if as_json:
        document(provider)
        return
    setup = provider.pop("setup_instructions", None)
    card({name: value for name, value in provider.items() if name != "logo"})
    if setup:
        typer.echo()
        say(setup["title"])
        for number, step in enumerate(setup["steps"], start=1):
            say(f"{number}. {step}")


@providers.command(
    "doctor",
    epilog=examples("authpipe providers doctor", "authpipe providers doctor --online --json"),
)
def check_providers(
    online: Annotated[
        bool, typer.Option("--online", help="Also call every origin once: is it reached, is its certificate valid?")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every provider file and name what is wrong in a line each: file, key, what to do. Ends with 1 then."""
    from runtime.commands.provider_files import examine
    from runtime.settings import load_settings

    raise typer.Exit(examine(load_settings(), online=online, as_json=as_json))
