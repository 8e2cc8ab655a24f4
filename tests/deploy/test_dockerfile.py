"""What can be said of the image without an engine that builds it."""

import re
import tomllib

from runtime.settings import Settings, variable
from tests.deploy.reading import DOCKERFILE, ROOT, copied


def test_everything_that_is_copied_is_there_and_goes_to_the_builder() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert set(copied()) == let_through


def test_everything_that_the_package_holds_is_copied_but_the_simulator() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert set(build["only-include"]) - set(copied()) == {"simulator"}


def test_the_base_is_pinned_to_a_patch_and_the_same_for_both_stages() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", bases[0])


def test_it_runs_as_a_user_of_its_own_and_has_a_health_check() -> None:
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER [1-9]\d+$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last


def test_the_variables_in_it_are_settings() -> None:
    named = set(re.findall(r"AUTHPIPE_[A-Z_]+", DOCKERFILE))
    assert named <= {variable(field) for field in Settings.model_fields}
