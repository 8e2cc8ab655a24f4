"""`python -m simulator`: every setting is a flag and a `SIMULATOR_*` variable; see `--help`."""

import sys
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_settings import CliSettingsSource, SettingsError

from simulator.app import create_app
from simulator.serving import serve
from simulator.settings import SimulatorSettings


def read_settings(argv: Sequence[str]) -> SimulatorSettings:
    """Settings from flags, then environment. The origin defaults to the address that is listened on."""
    flags = CliSettingsSource[SimulatorSettings](
        SimulatorSettings,
        cli_prog_name="python -m simulator",
        cli_parse_args=list(argv),
        cli_kebab_case=True,
        cli_hide_none_type=True,
    )
    settings = SimulatorSettings(_cli_settings_source=flags)
    if settings.origin is None:
        return settings.model_copy(update={"origin": f"http://{settings.host}:{settings.port}"})
    return settings


def main() -> int:
    try:
        settings = read_settings(sys.argv[1:])
        app = create_app(settings)
    except (ValidationError, SettingsError) as error:
        sys.stderr.write(f"simulator: {_line(error)}\n")
        return 2
    serve(app, settings.host, settings.port)
    return 0


def _line(error: ValidationError | SettingsError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or error.title
    return f"{where}: {first['msg']}"


if __name__ == "__main__":
    raise SystemExit(main())
