"""`authpipe dev`: the whole of Authpipe in one foreground process tree, kept in one folder."""

import asyncio
import io
import os
import signal
from contextlib import suppress

from rich.console import Console as RichConsole
from rich.table import Table

from runtime.console import Console
from runtime.demo_setup import ensure_development_config, simulator_origin, temporal_ui
from runtime.dev_keys import DevKeys, ensure_dev_keys
from runtime.folder import hold_folder, prepare_folder
from runtime.parts import api_url, engine, others, ports
from runtime.ports import require_free_ports
from runtime.processes import Stack, end, process, read_record, record_file, write_record
from runtime.settings import Settings
from runtime.supervisor import Supervisor
from runtime.temporal_server import new_store
from runtime.vault_setup import check_vault

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
US = "authpipe"
NAMES = (US, "temporal", "worker", "api", "simulator")


def run_dev(settings: Settings) -> int:
    """Run until Ctrl-C; answers the exit code. Raises a refusal if something has to be put right first."""
    prepare_folder(settings.data_dir)
    with hold_folder(settings.data_dir), Console(NAMES) as console:
        return asyncio.run(DevStack(settings, console).run())


class DevStack:
    """One run: what it starts it ends, whatever happens in between."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._supervisor = Supervisor(console.say, self._note)
        self._state = "starting"
        self._us = process(US, os.getpid())
        self._stop = asyncio.Event()

    async def run(self) -> int:
        self._listen()
        starting = asyncio.create_task(self._start())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await stopped
        finally:
            starting.cancel()
            stopped.cancel()
            await self._end()
            self._listen_no_more()
        return 0

    async def _start(self) -> None:
        self._end_leftovers()
        require_free_ports(ports(self._settings))
        await check_vault(self._settings)
        keys = await ensure_dev_keys(self._settings)
        self._say(f"starting {', '.join(NAMES[1:])} in {self._settings.data_dir}")
        if news := new_store(self._settings):
            self._say(news)
        await self._supervisor.start(engine(self._settings))
        await asyncio.gather(*(self._supervisor.start(part) for part in others(self._settings)))
        await ensure_development_config(self._settings, api_url(self._settings), keys.secret)
        self._state = "ready"
        self._note()
        self._console.show(summary(self._settings, keys))

    async def _end(self) -> None:
        self._state = "ending"
        begun = self._supervisor.begun
        if begun:
            self._note()
            self._say("ending everything; the state is kept")
        await self._supervisor.stop()
        if begun:
            self._say("ended")
        record_file(self._settings.data_dir).unlink(missing_ok=True)

    def _end_leftovers(self) -> None:
        """A stack that was killed outright may have left parts behind, which hold our ports and files."""
        left = read_record(self._settings.data_dir)
        for part in end(left.parts) if left else ():
            self._say(f"ended {part.name} (process {part.pid}), left over from an earlier run that was killed")

    def _listen(self) -> None:
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)

    def _listen_no_more(self) -> None:
        for number in SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set() and number == signal.SIGINT:
            self._say("killing everything")
            self._supervisor.kill()
        self._stop.set()

    def _note(self) -> None:
        urls = {
            "api": api_url(self._settings),
            "temporal_ui": temporal_ui(self._settings),
            "simulator": simulator_origin(self._settings),
        }
        with suppress(OSError):
            write_record(self._settings.data_dir, Stack(self._us, self._supervisor.processes, self._state, urls))

    def _say(self, line: str) -> None:
        self._console.say(US, line)


def summary(settings: Settings, keys: DevKeys) -> str:
    """The table shown when everything is up."""
    table = Table(title="Authpipe is running", show_header=False, title_justify="left")
    ask = f'curl -H "Authorization: Bearer {keys.secret}" {settings.public_url}/providers'
    for name, value in (
        ("Demo", f"{settings.public_url}/demo"),
        ("API document", f"{settings.public_url}/openapi.json"),
        ("Temporal UI", temporal_ui(settings)),
        ("Simulator", simulator_origin(settings)),
        ("Secret key", keys.secret),
        ("Publishable key", keys.publishable),
        ("Kept in", str(settings.data_dir)),
        ("Try next", "make demo"),
        ("", ask),
        ("To end", "Ctrl-C"),
    ):
        table.add_row(name, value)
    out = io.StringIO()
    # As wide as its widest row: a key or a command that is broken over two lines cannot be copied.
    RichConsole(file=out, width=len(ask) + 30).print(table)
    return out.getvalue()
