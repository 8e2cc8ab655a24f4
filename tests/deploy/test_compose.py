"""No engine is here to start docker-compose.yml, so it is held against what the code and the files say."""

import json
import re
import tomllib
from pathlib import Path

import check_jsonschema
import pytest
import typer
from jsonschema import Draft7Validator

from runtime.cli import app
from runtime.settings import Settings, load_settings, variable
from tests.deploy.reading import COMPOSE, OURS, ROOT, SERVICES, offered
from tests.docs.reading import text_of

SCHEMA = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
# Temporal's own client knows these (temporalio.envconfig); tests/runtime/test_temporal.py reads them with it.
TEMPORALS = {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}
IN_THE_IMAGE = {"AUTHPIPE_API_HOST", "AUTHPIPE_DATA_DIR"}
NOT_FOR_COMPOSE = {
    "AUTHPIPE_ENV": "production is the default",
    "AUTHPIPE_DATABASE_URL": "its file is used, so that the password is in no environment",
    "AUTHPIPE_KEY_ENCRYPTION_KEY": "its file is used",
    "AUTHPIPE_API_PORT": "the proxy and the health check look for 8080",
    "AUTHPIPE_TEMPORAL_PORT": "for an engine on the same machine",
    "AUTHPIPE_TEMPORAL_UI_PORT": "development only",
    "AUTHPIPE_SIMULATOR_PORT": "development only",
    "AUTHPIPE_PUBLIC_URL": "used by `authpipe dev` and the demo alone",
    "AUTHPIPE_PROVIDER_ORIGINS": "development only",
    "AUTHPIPE_PAUSE_DIR": "development only",
}


def given() -> set[str]:
    return {name for service in OURS.values() for name in service["environment"]}


def test_it_fits_the_compose_specification() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert [error.message for error in Draft7Validator(schema).iter_errors(COMPOSE)] == []


def test_every_variable_is_a_setting_and_every_setting_is_decided_on() -> None:
    known = {variable(field) for field in Settings.model_fields}
    decided = [given() - TEMPORALS, IN_THE_IMAGE, set(offered()), set(NOT_FOR_COMPOSE)]
    assert set().union(*decided) == known
    assert sum(map(len, decided)) == len(known), "a setting is decided on twice"


def test_no_variable_of_ours_stands_in_a_service_that_is_not_ours() -> None:
    others = [service for name, service in SERVICES.items() if name not in OURS]
    assert [name for service in others for name in service.get("environment", {}) if name.startswith("AUTHPIPE")] == []


@pytest.mark.parametrize(("name", "value"), sorted(offered().items()))
def test_the_example_shows_the_default(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    field = name.removeprefix("AUTHPIPE_").lower()
    default = getattr(load_settings(), field)
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), field) == default


def test_what_it_runs_is_in_the_package() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    known = set(getattr(typer.main.get_command(app), "commands", {}))
    for service in OURS.values():
        name, *words = service["command"]
        assert name in scripts
        assert set(words[:1]) <= known


def test_every_image_but_ours_is_pinned_to_a_version() -> None:
    images = {service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert [image for image in images if not re.fullmatch(r"[\w/-]+:\d+\.\d+(\.\d+)?", image)] == []
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert {service["image"] for service in OURS.values()} == {f"authpipe-server:{version}"}


@pytest.mark.parametrize("name", ["api", "worker"])
def test_what_scales_has_no_name_and_no_port_of_this_machine(name: str) -> None:
    assert not {"container_name", "hostname", "ports", "deploy"} & set(SERVICES[name])


@pytest.mark.parametrize("name", ["api", "worker"])
def test_how_many_there_are_is_asked_of_the_environment_and_is_one_unless_told(name: str) -> None:
    """An `up` without --scale goes back to the file's number: were it not there, any such command would leave one."""
    assert SERVICES[name]["scale"] == f"${{{name.upper()}_SCALE:-1}}"


def test_the_page_shows_every_variable_that_compose_itself_reads() -> None:
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    shown = re.findall(r"^(\w+)=", text_of("docs/deploy.md"), re.MULTILINE)
    assert read == set(shown)


def test_only_the_proxy_and_temporals_ui_are_published_and_by_default_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"proxy", "temporal-ui"}
    assert all(re.match(r"(\$\{\w+:-)?127\.0\.0\.1:", port) for ports in published.values() for port in ports)


def test_the_proxy_reaches_the_api_alone() -> None:
    beside = {name for name, service in SERVICES.items() if "edge" in service["networks"]}
    assert beside == {"proxy", "api"}
    assert SERVICES["proxy"]["networks"] == ["edge"]


def test_ours_run_read_only_without_capabilities_and_without_a_simulator() -> None:
    assert set(OURS) == {"api", "worker", "migrate"}
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert "simulator" not in json.dumps(COMPOSE)


def test_every_secret_volume_and_network_is_declared_and_used() -> None:
    for kind in ("secrets", "networks"):
        assert {name for service in SERVICES.values() for name in service.get(kind, [])} == set(COMPOSE[kind])
    mounts = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith(".")} == set(COMPOSE["volumes"])
    assert [mount for mount in mounts if mount.startswith(".") and not (ROOT / mount).exists()] == []


def test_a_service_reads_only_the_secrets_that_it_is_given() -> None:
    for service in SERVICES.values():
        read = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service)))
        assert read <= set(service.get("secrets", []))


def test_migrations_and_the_namespace_come_before_what_needs_them() -> None:
    done = {"condition": "service_completed_successfully"}
    assert all(SERVICES[name]["depends_on"]["migrate"] == done for name in ("api", "worker"))
    assert SERVICES["worker"]["depends_on"]["temporal-namespace"] == done
    assert SERVICES["temporal"]["depends_on"]["temporal-schema"] == done


def test_temporal_has_its_shards_its_retention_and_fairness() -> None:
    temporal = SERVICES["temporal"]
    assert temporal["environment"]["NUM_HISTORY_SHARDS"] == "512"
    assert "--retention 1d" in SERVICES["temporal-namespace"]["command"][0]
    mount = next(volume for volume in temporal["volumes"] if "dynamic-config" in volume)
    assert temporal["environment"]["DYNAMIC_CONFIG_FILE_PATH"] == mount.split(":")[1]
    assert mount.endswith(":ro")
    assert "matching.enableFairness:\n  - value: true" in (ROOT / mount.split(":")[0]).read_text(encoding="utf-8")


def test_every_environment_value_is_text() -> None:
    """A bare number or `true` would reach some parsers as another type than the shell in the image expects."""
    values = [value for service in SERVICES.values() for value in service.get("environment", {}).values()]
    assert [value for value in values if not isinstance(value, str)] == []
