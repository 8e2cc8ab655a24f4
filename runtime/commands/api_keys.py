"""`authpipe api-keys`: the keys that callers of the API hold. It asks the vault itself: the first key opens the API."""

import asyncio
from typing import Annotated, Literal

import typer

from runtime.commands.options import JsonOption, examples
from runtime.commands.printing import document, note, say, table
from runtime.settings import load_settings

Workspace = Annotated[str, typer.Option(help="Id of the workspace the key belongs to.")]

api_keys = typer.Typer(no_args_is_help=True, help="The keys that callers of the API hold.")


@api_keys.command("add", epilog=examples("authpipe api-keys add backend"))
def add_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    role: Annotated[
        Literal["secret", "publishable"], typer.Option(help="A publishable key may stand in a web page.")
    ] = "secret",
    workspace: Workspace = "default",
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is printed once and cannot be shown again."""
    from runtime.vault_setup import add_api_key

    key_id, key = asyncio.run(add_api_key(load_settings(), workspace, name, role))
    if as_json:
        document({"id": key_id, "role": role, "name": name, "key": key})
        return
    note(f"{key_id}  {role}  {name}")
    typer.echo(key)


@api_keys.command("list", epilog=examples("authpipe api-keys list --json"))
def list_keys(workspace: Workspace = "default", as_json: JsonOption = False) -> None:
    """List the living keys, without the keys themselves."""
    from runtime.vault_setup import list_api_keys

    titles = ("id", "role", "created_at", "name")
    rows = asyncio.run(list_api_keys(load_settings(), workspace))
    if as_json:
        document({"data": [dict(zip(titles, row, strict=True)) for row in rows]})
    elif rows:
        table(titles, rows)
    else:
        note("There is no key yet: authpipe api-keys add NAME")


@api_keys.command("revoke", epilog=examples("authpipe api-keys revoke ID"))
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The id that `list` shows.")],
    workspace: Workspace = "default",
    as_json: JsonOption = False,
) -> None:
    """End a key. An API process that used it just now may still take it for up to five seconds."""
    from runtime.vault_setup import revoke_api_key

    asyncio.run(revoke_api_key(load_settings(), workspace, key_id))
    if as_json:
        document({"id": key_id, "revoked": True})
    else:
        say(f"Key {key_id} is revoked; a running API process may still take it for up to five seconds.")
