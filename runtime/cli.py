"""The `authpipe` command. Every refusal is one line on stderr and exit code 2, never a traceback."""

import asyncio
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import metadata
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from runtime.commands.api_keys import api_keys
from runtime.commands.configs import configs
from runtime.commands.doctor import HELP as DOCTOR_HELP
from runtime.commands.doctor import doctor
from runtime.commands.events import events
from runtime.commands.lives import connections, installations
from runtime.commands.options import JsonOption, examples
from runtime.commands.printing import document, note, warn_on_stderr
from runtime.commands.providers import providers
from runtime.ending import leave
from runtime.errors import StartError
from runtime.logs import configure_logs
from runtime.progress import progress, working
from runtime.settings import load_settings

INTERRUPTED = 130
TERMINATED = 143
FAILED = 1
# Nothing can be written there: no room, a quota, a limit, a broken disk.
UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
GROUPS = {
    "connections": connections,
    "installations": installations,
    "providers": providers,
    "configs": configs,
    "api-keys": api_keys,
    "events": events,
}


class Sigterm:
    """Ends a command as Ctrl-C does, so that what it had open is rolled back and closed. Servers have their own way."""

    came = False

    def __call__(self, *_: object) -> None:
        self.came = True
        signal.raise_signal(signal.SIGINT)


class OneLine(TyperGroup):
    """Ends a refusal, Ctrl-C and SIGTERM with one line on stderr and an exit code that says which it was."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(_interrupted()) from None
        except StartError as error:
            raise typer.Exit(_refused(error)) from None


app = typer.Typer(
    name="authpipe",
    cls=OneLine,
    help="Self-hosted OAuth connection management on Temporal.",
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks show local variables, and with them secrets.
    pretty_exceptions_enable=False,
)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)
app.command(help=DOCTOR_HELP, epilog=examples("authpipe doctor", "authpipe doctor --json"))(doctor)
keys = typer.Typer(no_args_is_help=True, help="The keys that seal what is in the vault.")
app.add_typer(keys, name="keys")


@app.command(epilog=examples("authpipe dev", "AUTHPIPE_DATA_DIR=/srv/try authpipe dev"))
def dev() -> None:
    """Run everything on this machine, for development: Temporal, worker, API and the provider simulator.

    Until Ctrl-C. The state stays in the data folder, on which a second one is refused. A part that ends is restarted.
    """
    from runtime.dev import run_dev

    raise typer.Exit(run_dev(load_settings(env="development")))


@app.command(epilog=examples("authpipe api", "AUTHPIPE_API_HOST=0.0.0.0 AUTHPIPE_API_PORT=8081 authpipe api"))
def api() -> None:
    """Serve the HTTP API; any number of these may run.

    SIGTERM or Ctrl-C: no new request is taken, those under way are answered, for ten seconds at most; ends with 0.
    """
    from runtime.api_server import run_api

    settings = load_settings()
    configure_logs(settings, "api")
    run_api(settings)


@app.command(epilog=examples("authpipe worker"))
def worker() -> None:
    """Run workflows and activities; any number of these may run. It waits for Temporal and makes the search attributes.

    SIGTERM or Ctrl-C: what it has asked a provider for is committed first; ends with 0.
    """
    from worker import work

    work()


@app.command(epilog=examples("authpipe migrate"))
def migrate(as_json: JsonOption = False) -> None:
    """Bring the database up to date: whole, or not at all.

    Run it once before a new version is started; the version before may serve meanwhile. Of two at once, one waits. A
    database that a newer version made is left as it is.
    """
    from runtime.vault_setup import migrate_vault, migrated

    with working("Migrating …"):
        stands = migrate_vault(load_settings())
    if as_json:
        document({"revision": stands.revision})
    else:
        typer.echo(migrated(stands))


@app.command(epilog=examples("authpipe reconcile", "authpipe reconcile --json"))
def reconcile(
    as_json: JsonOption = False,
) -> None:
    """Compare the vault with what runs, and mend it. Ends with 1 if something is left for a person to do."""
    from runtime.reconcile_command import reconcile_now

    raise typer.Exit(reconcile_now(load_settings(), as_json=as_json))


@app.command(epilog=examples("authpipe openapi > openapi.json"))
def openapi() -> None:
    """Print the OpenAPI document that the API serves."""
    from api.app import openapi_document

    typer.echo(json.dumps(openapi_document(), indent=2, sort_keys=True))


@keys.command("rewrap", epilog=examples("authpipe keys rewrap"))
def rewrap_keys(as_json: JsonOption = False) -> None:
    """Wrap every data key by the first key-encryption key; the others can be taken away afterwards."""
    from runtime.vault_setup import rewrap_data_keys

    with progress() as told:
        changed = asyncio.run(rewrap_data_keys(load_settings(), lambda count: told("Wrapping", count, 0)))
    if as_json:
        document({"wrapped": changed})
        return
    typer.echo(f"{changed} data {'key was' if changed == 1 else 'keys were'} wrapped anew.")


@app.command(epilog=examples("authpipe demo"))
def demo() -> None:
    """Walk through a whole life, step by step, against the simulator."""
    from runtime.demo import main as demo_main

    raise typer.Exit(demo_main())


@app.command(epilog=examples("authpipe version"))
def version(as_json: JsonOption = False) -> None:
    """Print the version of this server."""
    said = metadata.version("authpipe-server")
    document({"version": said}) if as_json else typer.echo(said)


def main() -> NoReturn:
    """Entry of `authpipe`."""
    warn_on_stderr()
    signal.signal(signal.SIGTERM, Sigterm())
    _one_line(app)


def api_main() -> NoReturn:
    """Entry of `authpipe-api`."""
    signal.signal(signal.SIGTERM, Sigterm())
    _one_line(api)


def _one_line(run: Callable[[], object]) -> NoReturn:
    code = FAILED
    try:
        ended = _code_of(run)
        if sys.stdout:
            sys.stdout.flush()
        code = ended
    except BrokenPipeError:
        # The reader of our output went away (`| head`).
        _write_no_more()
    except Exception as error:  # noqa: BLE001 - whatever it is: it has to be seen, and the process to end
        _say_what_failed(error)
    finally:
        leave(code)


def _say_what_failed(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        _write_no_more()
        note(
            f"authpipe: {error.filename or 'the output'} cannot be written ({error.strerror}); make room and repeat it"
        )
        return
    traceback.print_exception(error)


def _code_of(run: Callable[[], object]) -> int:
    """Run it; answers the exit code."""
    try:
        run()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return _interrupted()
    except StartError as error:
        return _refused(error)
    return 0


def _write_no_more() -> None:
    """Keep Python from failing once more while it flushes what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted() -> int:
    """Say so; answers the exit code."""
    terminated = getattr(signal.getsignal(signal.SIGTERM), "came", False)
    note("authpipe: ended by SIGTERM" if terminated else "authpipe: interrupted")
    return TERMINATED if terminated else INTERRUPTED


def _refused(error: StartError) -> int:
    """Say what is to be put right; answers the exit code."""
    for line in f"authpipe: {error}".splitlines():
        note(line)
    return error.exit_code


if __name__ == "__main__":
    main()
