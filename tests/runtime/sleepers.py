"""Stand-ins for the parts of a stack: they sleep, and one holds the API's port. Run as a program, it is
`authpipe dev` with them, for the tests to interrupt and kill.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from runtime import cli, dev
from runtime.dev_keys import DevKeys
from runtime.settings import Settings
from runtime.supervisor import Part

SLEEP = (
    "import socket, sys, time; held = socket.create_server(('127.0.0.1', int(sys.argv[1]))) if sys.argv[1] else 0; "
    "print('up', flush=True); time.sleep(60)"
)


def sleeper(name: str, stage: int, port: str = "") -> Part:
    async def ready(_pid: int) -> bool:
        return True

    return Part(name, (sys.executable, "-I", "-S", "-c", SLEEP, port), ready, stage=stage)


async def nothing(*_: Any) -> None:
    return None


async def keys(_settings: Settings) -> DevKeys:
    return DevKeys("key_1", "ap_sk_1", "key_2", "ap_pk_1")


STAND_INS: dict[str, Any] = {
    "engine": lambda _: sleeper("temporal", 0),
    "others": lambda settings: (sleeper("api", 1, str(settings.api_port)), sleeper("worker", 1)),
    "check_vault": nothing,
    "ensure_dev_keys": keys,
    "ensure_development_config": nothing,
}

if __name__ == "__main__":
    for name, stand_in in STAND_INS.items():
        setattr(dev, name, stand_in)
    sys.argv[1:] = ["dev"]
    cli.main()
