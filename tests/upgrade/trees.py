"""A newer build: a copy of this tree with a small change, whose processes run beside those of this one."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.laws.red import copied

ROOT = Path(__file__).parents[2]

LIFE = "workflows/life.py"
BEFORE = """        self.refreshes += 1
        order = RefreshOrder("""
GUARDED = """        self.refreshes += 1
        if workflow.patched("a-pause-before-each-refresh"):
            await workflow.sleep(0.01, summary="of the new build")
        order = RefreshOrder("""
UNGUARDED = """        self.refreshes += 1
        await workflow.sleep(0.01, summary="of the new build")
        order = RefreshOrder("""
"""A timer before each refresh: a change of commands, made as it must be and as it must not."""


def changed(folder: Path, file: str, before: str, after: str) -> Path:
    """A copy of this tree in `folder`, where `before` stands once in `file`, and is `after`."""
    tree = copied(folder)
    source = (tree / file).read_text(encoding="utf-8")
    assert source.count(before) == 1, f"{file} has no such place any more: {before!r}"
    (tree / file).write_text(source.replace(before, after), encoding="utf-8")
    return tree


def with_migrations(folder: Path, migrations: Mapping[str, str]) -> Path:
    """A copy of this tree with further migrations, by file name."""
    tree = copied(folder)
    for name, text in migrations.items():
        (tree / "vault" / "migrations" / "versions" / name).write_text(text, encoding="utf-8")
    return tree


def run(tree: Path, *words: str, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """`authpipe WORDS` of that build."""
    command = [sys.executable, "-m", "runtime.cli", *words]
    return subprocess.run(command, cwd=tree, env=dict(env), capture_output=True, text=True, check=False)
