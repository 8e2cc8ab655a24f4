import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_law_11_pure_rooms_call_no_clock_and_no_randomness():
    """The sandbox does not guard what is passed through, so the linter does."""
    rooms = ("domain", "providers", "workflows")
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--no-cache", *rooms],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
