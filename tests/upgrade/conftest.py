# What the developer's shell says must not decide here either.
from tests.runtime.conftest import _empty_environment as _empty_environment
