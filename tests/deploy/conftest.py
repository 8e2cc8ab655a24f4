import os

import pytest

from runtime.settings import PREFIX


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell says must not decide."""
    for name in list(os.environ):
        if name.startswith((PREFIX, "TEMPORAL_")):
            monkeypatch.delenv(name)
