"""`deploy/postgres/10-databases.sh` on a real PostgreSQL, as its image runs it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.crash.postgres import StoppablePostgres, own_postgres
from tests.deploy.reading import PROGRAMS, ROOT

pytestmark = pytest.mark.slow


def asked(env: dict[str, str], query: str) -> str:
    line = ["psql", "-U", "postgres", "-d", "postgres", "-Atc", query]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=True).stdout.strip()


def set_up(env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    script = ROOT / "deploy" / "postgres" / "10-databases.sh"
    return subprocess.run(["sh", str(script)], env=env, capture_output=True, text=True, check=False)


def environment(postgres: StoppablePostgres, secrets: Path) -> dict[str, str]:
    return {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "PGHOST": str(postgres.server.get_postmaster_info().socket_dir),
        "POSTGRES_USER": "postgres",
        "SECRETS_DIR": str(secrets),
    }


async def test_each_role_owns_its_databases_and_enters_no_other(tmp_path: Path) -> None:
    for name in ("authpipe", "temporal"):
        (tmp_path / f"{name}_password").write_text(f"it's {name}\n")
    async with own_postgres() as postgres:
        env = environment(postgres, tmp_path)
        ended = set_up(env)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        owners = "SELECT datname || ' ' || rolname FROM pg_database d JOIN pg_roles r ON r.oid = datdba ORDER BY 1"
        assert {"authpipe authpipe", "temporal temporal", "temporal_visibility temporal"} <= set(
            asked(env, owners).splitlines()
        )
        for role, database, may in (
            ("authpipe", "authpipe", "t"),
            ("authpipe", "temporal", "f"),
            ("authpipe", "temporal_visibility", "f"),
            ("temporal", "temporal_visibility", "t"),
            ("temporal", "authpipe", "f"),
        ):
            assert asked(env, f"SELECT has_database_privilege('{role}', '{database}', 'CONNECT')") == may
        assert asked(env, "SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname IN ('authpipe', 'temporal')") == "0"
        held = asked(env, "SELECT rolpassword FROM pg_authid WHERE rolname = 'temporal'")
        assert held.startswith("SCRAM-SHA-256$")
