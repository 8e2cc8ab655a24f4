from itertools import pairwise
from pathlib import Path

import pytest
from annotated_types import Ge, Le

from runtime.errors import SettingsError
from runtime.settings import Settings, load_settings, variable

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_production_is_the_default() -> None:
    assert load_settings().env == "production"


def test_the_default_vault_is_a_file_in_the_data_folder(tmp_path: Path) -> None:
    assert load_settings(data_dir=tmp_path).database_url == f"sqlite+aiosqlite:///{tmp_path}/authpipe.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_plain_postgresql_url_gets_the_async_driver(scheme: str) -> None:
    settings = load_settings(database_url=f"{scheme}://u:p@db.example.com/x")
    assert settings.database_url == "postgresql+asyncpg://u:p@db.example.com/x"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHPIPE_API_PORT", "")
    assert load_settings().api_port == 8080


def test_an_unknown_name_is_refused_with_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    line = refusal(monkeypatch, AUTHPIPE_API_PROT="1")
    assert line == "AUTHPIPE_API_PROT: there is no such setting; the nearest one is AUTHPIPE_API_PORT"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AUTHPIPE_API_PORT", "s3cr3t", "AUTHPIPE_API_PORT: must be a valid integer"),
        ("AUTHPIPE_API_PORT", "65536", "AUTHPIPE_API_PORT: must be less than or equal to 65535"),
        ("AUTHPIPE_ENV", "s3cr3t", "AUTHPIPE_ENV: must be 'production' or 'development'"),
        ("AUTHPIPE_DATABASE_URL", "mysql://u:s3cr3t@h/d", "AUTHPIPE_DATABASE_URL: must begin with"),
        ("AUTHPIPE_PUBLIC_URL", "http://s3cr3t.example.com", "AUTHPIPE_PUBLIC_URL: plain http is for this"),
        ("AUTHPIPE_PUBLIC_URL", "https://a.example.com/s3cr3t", "AUTHPIPE_PUBLIC_URL: must end after"),
        ("AUTHPIPE_PROVIDER_ORIGINS", "{s3cr3t", "AUTHPIPE_PROVIDER_ORIGINS: cannot be read; give it as JSON"),
        ("AUTHPIPE_PROVIDER_TIMEOUT_SECONDS", "31", "AUTHPIPE_PROVIDER_TIMEOUT_SECONDS: must be less than"),
    ],
)
def test_a_bad_value_gives_one_line_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    line = refusal(monkeypatch, **{name: value})
    assert line.startswith(said)
    assert "s3cr3t" not in line


def test_one_bad_value_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "AUTHPIPE_PUBLIC_URL" not in refusal(monkeypatch, AUTHPIPE_API_PORT="0")


def test_a_provider_is_swapped_in_development_only(monkeypatch: pytest.MonkeyPatch) -> None:
    origins = {"some": "http://127.0.0.1:9300"}
    assert load_settings(env="development", provider_origins=origins).provider_origins == origins
    line = refusal(monkeypatch, AUTHPIPE_PROVIDER_ORIGINS='{"some": "http://127.0.0.1:9300"}')
    assert line.startswith("AUTHPIPE_PROVIDER_ORIGINS: is for development only")


def test_the_database_url_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:s3cr3t@h/d\n")
    monkeypatch.setenv("AUTHPIPE_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert load_settings().database_url == "postgresql+asyncpg://u:s3cr3t@h/d"
    assert "s3cr3t" not in repr(load_settings())
    line = refusal(monkeypatch, AUTHPIPE_DATABASE_URL="postgresql://u:s3cr3t@h/d")
    assert line == "AUTHPIPE_DATABASE_URL: is set together with AUTHPIPE_DATABASE_URL_FILE; keep one of them"


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (None, "AUTHPIPE_DATABASE_URL_FILE: cannot be read (No such file or directory)"),
        (b"\xff\xfes3cr3t", "AUTHPIPE_DATABASE_URL_FILE: cannot be read (it is not text)"),
        (b"mysql://u:s3cr3t@h/d", "AUTHPIPE_DATABASE_URL: must begin with sqlite:// or postgresql://"),
        (b"", "AUTHPIPE_DATABASE_URL: must begin with sqlite:// or postgresql://"),
    ],
)
def test_a_file_without_a_usable_url_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, held: bytes | None, said: str
) -> None:
    if held is not None:
        (tmp_path / "url").write_bytes(held)
    assert refusal(monkeypatch, AUTHPIPE_DATABASE_URL_FILE=str(tmp_path / "url")) == said


def test_settings_cannot_be_changed_and_do_not_show_secrets() -> None:
    settings = load_settings(key_encryption_key="k:s3cr3t", database_url="postgresql://u:s3cr3t@h/d")
    assert "s3cr3t" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.api_port = 1  # type: ignore[misc]


def rows() -> dict[str, tuple[str, str]]:
    """Default and meaning of each setting, as the page has them."""
    lines = [line.split("|") for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return {line[1].strip().strip("`"): (line[2].strip(), line[3].strip()) for line in lines}


def test_the_documentation_lists_every_setting_and_no_other() -> None:
    documented = {name: meaning for name, (_, meaning) in rows().items()}
    described = {variable(name): field.description for name, field in Settings.model_fields.items()}
    assert documented == described


FOLLOWS = {
    "database_url": "`authpipe.db` in the data folder",
    "public_url": "`http://localhost:` and the API's port",
}
"""The defaults that are worked out of another setting, in words."""


def default_of(name: str) -> str:
    """As the page writes it."""
    if name in FOLLOWS:
        return FOLLOWS[name]
    match Settings.model_fields[name].get_default(call_default_factory=True):
        case None | "" | {}:
            return "none"
        case bool() as switch:
            return f"`{switch}`".lower()
        case float() as number:
            return f"`{number:g}`"
        case default:
            return f"`{default}`"


def bounds_of(name: str) -> str:
    """As the page writes them."""
    for least, most in pairwise(Settings.model_fields[name].metadata):
        if isinstance(most, Le):
            return f"{least.ge} to {most.le}" if isinstance(least, Ge) else f"above {least.gt}, at most {most.le}"
    return ""


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_documentation_has_its_default_and_its_bounds(name: str) -> None:
    told, _ = rows()[variable(name)]
    default, bounds = default_of(name), bounds_of(name)
    assert told == (f"{default}, {bounds}" if bounds else default)
