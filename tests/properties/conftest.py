"""How hard the properties are tried: quickly and always alike by default, and long by `HYPOTHESIS_PROFILE=long`.

The long run takes the better part of an hour and needs `--timeout 0`.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large)

settings.register_profile(
    "quick",
    max_examples=5,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    # A failure of so few steps is read as it is: making it smaller takes minutes, and "long" does it.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=SLOW_IS_FINE,
)
settings.register_profile(
    "long",
    max_examples=500,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=SLOW_IS_FINE,
)


@pytest.fixture(scope="session")
def effort() -> settings:
    """The profile asked for. It is handed over, not loaded: other tests keep the settings they have."""
    return settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
