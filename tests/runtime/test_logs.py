import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from runtime.logs import STRUCK, configure_logs, redact
from runtime.settings import Settings


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was logged; logging is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "name",
    ["access_token", "client_secret", "code", "code_verifier", "Authorization", "password", "api_key", "cookie"],
)
def test_a_value_with_a_secret_name_is_struck_out(name: str) -> None:
    assert redact(None, "", {"event": "x", name: "canary"})[name] == STRUCK


@pytest.mark.parametrize("name", ["provider_id", "key_id", "token_url", "token_type", "tenant_id", "reason"])
def test_a_value_with_a_plain_name_stays(name: str) -> None:
    assert redact(None, "", {"event": "x", name: "plain"})[name] == "plain"


def test_secrets_inside_mappings_and_lists_are_struck_out() -> None:
    event = redact(None, "", {"event": "x", "body": [{"refresh_token": "canary", "scope": "read"}]})
    assert event["body"] == [{"refresh_token": STRUCK, "scope": "read"}]


@pytest.mark.parametrize(
    "text",
    [
        "GET https://a.example.com/cb?code=canary&x=1",
        "GET https://a.example.com/cb?x=1&state=canary",
        '{"access_token": "canary", "x": 1}',
        "Authorization: Bearer canary-canary",
        "refresh_token=canary was refused",
    ],
)
def test_a_secret_written_into_a_sentence_is_struck_out(text: str) -> None:
    event = redact(None, "", {"event": text})
    assert "canary" not in event["event"]
    assert STRUCK in event["event"]


def test_production_lines_are_json_and_tagged(
    settings_with: Callable[..., Settings], stderr: Callable[[], str]
) -> None:
    configure_logs(settings_with(), "worker")
    structlog.get_logger("ours").info("done", life="conn_1")
    logging.getLogger("theirs").warning("said %s", "so")
    ours, theirs = (json.loads(line) for line in stderr().splitlines())
    assert (ours["process"], ours["event"], ours["life"], ours["level"]) == ("worker", "done", "conn_1", "info")
    assert (theirs["process"], theirs["event"], theirs["logger"]) == ("worker", "said so", "theirs")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables_and_no_secret(
    settings_with: Callable[..., Settings], stderr: Callable[[], str], log_format: str
) -> None:
    def fail(local: Any) -> None:
        _also = "in a local variable: " + local
        raise RuntimeError(f"no: access_token={local}")

    configure_logs(settings_with(log_format=log_format), "api")
    try:
        fail("".join(("can", "ary")))
    except RuntimeError:
        structlog.get_logger("ours").exception("failed")
    logged = stderr()
    assert "RuntimeError" in logged
    assert "canary" not in logged


def test_http_clients_do_not_log_addresses_with_their_queries(
    settings_with: Callable[..., Settings], stderr: Callable[[], str]
) -> None:
    configure_logs(settings_with(log_level="debug"), "worker")
    logging.getLogger("httpx").info("HTTP Request: GET https://a.example.com/?x=canary")
    logging.getLogger("httpcore.http11").debug("canary")
    assert stderr() == ""


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_line_that_cannot_be_written_or_rendered_ends_nothing(
    settings_with: Callable[..., Settings], stderr: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logs(settings_with(log_format="json"), "api")
    log = structlog.get_logger("ours")
    log.info("odd", value=Unspeakable())
    assert json.loads(stderr())["value"] == "<Unspeakable: RuntimeError>"
    closed = io.StringIO()
    closed.close()
    for there in (closed, None):
        monkeypatch.setattr("sys.stderr", there)
        log.info("not heard")
