"""The `authpipe` command. Every refusal is one line on stderr and exit code 2, never a traceback."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Literal

import typer

from runtime.errors import StartError
from runtime.logs import configure_logs
from runtime.settings import load_settings

REFUSED = 2

app = typer.Typer(
    name="authpipe",
    help="Self-hosted OAuth connection management on Temporal.",
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks show local variables, and with them secrets.
    pretty_exceptions_enable=False,
)
api_keys = typer.Typer(no_args_is_help=True, help="The keys that callers of the API hold.")
app.add_typer(api_keys, name="api-keys")
keys = typer.Typer(no_args_is_help=True, help="The keys that seal what is in the vault.")
app.add_typer(keys, name="keys")

Workspace = Annotated[str, typer.Option(help="Id of the workspace the key belongs to.")]


@app.command()
def dev() -> None:
    """Run everything on this machine: Temporal, worker, API and the provider simulator."""
    from runtime.dev import run_dev

    raise typer.Exit(run_dev(load_settings(env="development")))


@app.command()
def api() -> None:
    """Serve the HTTP API."""
    from runtime.api_server import run_api

    settings = load_settings()
    configure_logs(settings, "api")
    run_api(settings)


@app.command()
def worker() -> None:
    """Run workflows and activities; any number of these may run."""
    from worker import main as worker_main

    worker_main()


@app.command()
def migrate() -> None:
    """Bring the database up to date."""
    from runtime.vault_setup import migrate_vault

    migrate_vault(load_settings())
    typer.echo("The database is up to date.")


@app.command()
def reconcile(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare the vault with what runs, and mend it. Ends with 1 if something is left for a person to do."""
    from runtime.reconcile_command import reconcile_now

    raise typer.Exit(reconcile_now(load_settings(), as_json=as_json))


@app.command()
def openapi() -> None:
    """Print the OpenAPI document that the API serves."""
    from api.app import openapi_document

    typer.echo(json.dumps(openapi_document(), indent=2, sort_keys=True))


@api_keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    role: Annotated[
        Literal["secret", "publishable"], typer.Option(help="A publishable key may stand in a web page.")
    ] = "secret",
    workspace: Workspace = "default",
) -> None:
    """Make a key. It is printed once and cannot be shown again."""
    from runtime.vault_setup import add_api_key

    key_id, key = asyncio.run(add_api_key(load_settings(), workspace, name, role))
    typer.echo(f"{key_id}  {role}  {name}", err=True)
    typer.echo(key)


@api_keys.command("list")
def list_keys(workspace: Workspace = "default") -> None:
    """List the keys, without the keys themselves."""
    from runtime.vault_setup import list_api_keys

    for key in asyncio.run(list_api_keys(load_settings(), workspace)):
        typer.echo("  ".join(key))


@api_keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The id that `list` shows.")], workspace: Workspace = "default"
) -> None:
    """End a key. An API process that used it just now may still take it for up to five seconds."""
    from runtime.vault_setup import revoke_api_key

    asyncio.run(revoke_api_key(load_settings(), workspace, key_id))
    typer.echo(f"Key {key_id} is revoked; a running API process may still take it for up to five seconds.")


@keys.command("rewrap")
def rewrap_keys() -> None:
    """Wrap every data key by the first key-encryption key; the others can be taken away afterwards."""
    from runtime.vault_setup import rewrap_data_keys

    changed = asyncio.run(rewrap_data_keys(load_settings()))
    typer.echo(f"{changed} data {'key was' if changed == 1 else 'keys were'} wrapped anew.")


@app.command()
def demo() -> None:
    """Walk through a whole life, step by step, against the simulator."""
    from runtime.demo import main as demo_main

    raise typer.Exit(demo_main())


@app.command()
def version() -> None:
    """Print the version of this server."""
    typer.echo(metadata.version("authpipe-server"))


def main() -> None:
    """Entry of `authpipe`."""
    _one_line(app)


def api_main() -> None:
    """Entry of `authpipe-api`."""
    _one_line(api)


def _one_line(run: Callable[[], object]) -> None:
    try:
        run()
    except BrokenPipeError:
        # The reader of our output went away (`| head`); keep Python from failing again while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except StartError as error:
        typer.echo(f"authpipe: {error}", err=True)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
