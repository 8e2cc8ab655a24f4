"""`make red`: break each law by the small patch beside its tests, in a copy, and require that its tests then fail.

A patch is named `law_NN_<what it breaks>.patch`; its tests are those named `test_law_NN_…`.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATCHES = sorted(Path(__file__).with_name("patches").glob("law_*.patch"))


def copied(folder: Path) -> Path:
    """The tracked files and those about to be, without what they produce."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return folder


def red(patch: Path) -> str:
    """Empty if the law's tests fail under the patch, else what is wrong."""
    law = re.match(r"law_\d\d", patch.name).group(0)
    with tempfile.TemporaryDirectory(prefix="authpipe-red-") as name:
        tree = copied(Path(name))
        applied = subprocess.run(["git", "apply", str(patch)], cwd=tree, capture_output=True, text=True, check=False)
        if applied.returncode:
            return f"the patch does not apply any more:\n{applied.stderr}"
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"test_{law}_", "tests"]
        ran = subprocess.run(pytest, cwd=tree, capture_output=True, text=True, check=False)
    if ran.returncode == 1 and re.search(r"\d+ failed", ran.stdout):
        return ""
    said = ran.stdout[-2000:] + ran.stderr[-2000:]
    return f"the law is broken and its tests do not fail (exit code {ran.returncode}):\n{said}"


def main() -> int:
    wanted = sys.argv[1:]
    chosen = [patch for patch in PATCHES if not wanted or any(word in patch.name for word in wanted)]
    wrong = 0
    for patch in chosen:
        fault = red(patch)
        wrong += bool(fault)
        print(f"{'NOT RED' if fault else 'red':8} {patch.stem}{': ' + fault if fault else ''}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} patches turn their law's tests red")
    return 1 if wrong or not chosen else 0


if __name__ == "__main__":
    raise SystemExit(main())
