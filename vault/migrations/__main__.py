"""Write the next migration from the difference between the migrations so far and `vault.tables`. Read it before use."""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from vault.revisions import alembic_config, head


def main(message: str) -> None:
    config = alembic_config()
    last = ScriptDirectory.from_config(config).get_revision(head())
    config.attributes["serves_from"] = last.module.serves_from
    versions = Path(__file__).parent / "versions"
    number = 1 + len(list(versions.glob("[0-9]*.py")))
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/so_far.db")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")
        engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
