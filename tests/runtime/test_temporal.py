import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode, TLSConfig
from temporalio.testing import WorkflowEnvironment

from runtime.errors import SearchAttributeError, SettingsError, StartError
from runtime.ports import free_port
from runtime.settings import Settings
from runtime.temporal import FAST, connect, connect_config, connect_registered, register_search_attributes
from runtime.temporal_server import find_binary
from workflows.attributes import KEYS

CLOUD = Path(__file__).parents[2] / "docs" / "temporal-cloud.md"
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[Client]:
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=str(find_binary())) as environment:
        yield environment.client


def test_without_variables_temporal_is_on_this_machine(settings_with: Callable[..., Settings]) -> None:
    assert connect_config(settings_with(temporal_port=7001)) == {"target_host": "127.0.0.1:7001"}


def test_temporals_own_variables_are_obeyed(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example.com:7233")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "ours")
    config = connect_config(settings_with())
    assert (config["target_host"], config["namespace"]) == ("temporal.example.com:7233", "ours")


def test_a_profile_file_gives_address_namespace_tls_and_key(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file that docs/temporal-cloud.md shows."""
    shown = re.search(r"```toml\n(.*?)```", CLOUD.read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    for name in ("client.pem", "client.key"):
        (tmp_path / name).write_text(f"contents of {name}")
    file = tmp_path / "temporal.toml"
    file.write_text(shown[1].replace("/run/secrets/", f"{tmp_path}/"))
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    by_key = connect_config(settings_with())
    assert by_key["target_host"].endswith(":7233")
    assert by_key["namespace"] == "authpipe.a1b2c"
    assert by_key["api_key"] == "…"
    assert by_key["tls"] is True or by_key["tls"]
    monkeypatch.setenv("TEMPORAL_PROFILE", "certificate")
    by_certificate = connect_config(settings_with())
    assert isinstance(by_certificate["tls"], TLSConfig)
    assert by_certificate["tls"].client_cert == b"contents of client.pem"
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "another")
    assert connect_config(settings_with())["namespace"] == "another"


def test_development_never_leaves_this_machine(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example.com:7233")
    assert connect_config(settings_with(env="development")) == {"target_host": "127.0.0.1:7233"}


@pytest.mark.parametrize(("told", "compressed"), [("", False), ("true", True), ("false", False)])
async def test_only_what_goes_far_is_compressed(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, told: str, compressed: bool
) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "key")
    monkeypatch.setenv("TEMPORAL_TLS", told) if told else monkeypatch.delenv("TEMPORAL_API_KEY")
    client = await connect(settings_with(), lazy=True)
    wanted = GrpcCompression.GZIP if compressed else GrpcCompression.NONE
    assert client.service_client.config.grpc_compression is wanted


def test_an_unreadable_profile_file_gives_one_line_that_quotes_none_of_it(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\napi_key = "canary\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    with pytest.raises(SettingsError) as caught:
        connect_config(settings_with())
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_the_apis_client_gives_up_within_a_second(settings_with: Callable[..., Settings]) -> None:
    client = await connect(settings_with(temporal_port=free_port()), lazy=True)
    assert client.service_client.config.retry_config == FAST
    began = time.monotonic()
    with pytest.raises((RuntimeError, RPCError)):
        await client.count_workflows()
    assert time.monotonic() - began < 2


async def test_a_worker_waits_for_temporal_and_says_so(
    settings_with: Callable[..., Settings], eventually: Eventually
) -> None:
    port = free_port()
    with capture_logs() as lines:
        waiting = asyncio.create_task(connect(settings_with(temporal_port=port), lazy=False))
        await eventually(lambda: bool(lines))
        waiting.cancel()
    assert lines[0]["event"] == "Temporal does not answer yet; trying again"
    assert lines[0]["address"] == f"127.0.0.1:{port}"


async def test_search_attributes_are_registered_again_and_again(engine: Client) -> None:
    keys = [SearchAttributeKey.for_keyword("RuntimeOne"), SearchAttributeKey.for_keyword("RuntimeTwo")]
    await register_search_attributes(engine, keys)
    await register_search_attributes(engine, keys)
    assert await engine.count_workflows("RuntimeOne = 'x'")


async def test_a_search_attribute_of_another_type_is_named(engine: Client) -> None:
    await register_search_attributes(engine, [SearchAttributeKey.for_int("RuntimeThree")])
    with pytest.raises(SearchAttributeError, match="RuntimeThree is Int, it must be Keyword"):
        await register_search_attributes(engine, [SearchAttributeKey.for_keyword("RuntimeThree")])


@pytest.fixture
def at_engine(engine: Client, settings_with: Callable[..., Settings], tmp_path: Path) -> Settings:
    """Settings of `authpipe dev`, whose engine is the real one."""
    port = int(engine.service_client.config.target_host.rpartition(":")[2])
    return settings_with(env="development", temporal_port=port, data_dir=tmp_path)


async def test_a_worker_is_connected_once_the_search_attributes_are_there(at_engine: Settings) -> None:
    client = await connect_registered(at_engine)
    assert await client.count_workflows(f"{KEYS[0].name} = 'x'")


async def test_a_developer_is_told_which_file_has_the_attribute_of_another_type(
    engine: Client, at_engine: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await register_search_attributes(engine, [SearchAttributeKey.for_int("RuntimeSix")])
    monkeypatch.setattr("runtime.temporal.KEYS", [SearchAttributeKey.for_keyword("RuntimeSix")])
    with pytest.raises(SearchAttributeError, match="RuntimeSix is Int, it must be Keyword") as caught:
        await connect_registered(at_engine)
    assert f"{tmp_path}/temporal-" in str(caught.value)


async def test_a_namespace_that_there_is_not_is_refused_in_one_line(
    engine: Client, settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", engine.service_client.config.target_host)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "nowhere")
    with pytest.raises(StartError, match="namespace 'nowhere': NOT_FOUND") as caught:
        await connect_registered(settings_with())
    assert "authpipe doctor" in str(caught.value)


async def test_a_server_that_goes_away_between_connecting_and_registering_is_waited_for(
    at_engine: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Exception] = [RPCError("starting", RPCStatusCode.UNAVAILABLE, b"")]
    registered = []

    async def register(client: Client, _keys: object) -> None:
        if answers:
            raise answers.pop()
        registered.append(client)

    monkeypatch.setattr("runtime.temporal.register_search_attributes", register)
    monkeypatch.setattr("runtime.temporal.FIRST_WAIT_SECONDS", 0)
    assert [await connect_registered(at_engine)] == registered


async def test_a_server_that_refuses_to_create_them_is_told_apart(engine: Client) -> None:
    keys = [SearchAttributeKey.for_bool(f"RuntimeBool{n}") for n in range(4)]
    with pytest.raises(SearchAttributeError, match="refuses to create them") as caught:
        await register_search_attributes(engine, keys)
    assert "search-attribute create --namespace default --name RuntimeBool" in str(caught.value)
    assert "--type Bool" in str(caught.value)


async def test_where_they_may_not_be_listed_a_query_tells_whether_they_are_there(
    engine: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, absent = SearchAttributeKey.for_keyword("RuntimeFour"), SearchAttributeKey.for_keyword("RuntimeFive")
    await register_search_attributes(engine, [there])

    async def refuse(_request: object) -> None:
        raise RPCError("not for you", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(engine.operator_service, "list_search_attributes", refuse)
    with capture_logs() as lines:
        await register_search_attributes(engine, [there])
    assert lines[0]["refused"] == "PERMISSION_DENIED"
    with pytest.raises(SearchAttributeError, match="--name RuntimeFive --type Keyword") as caught:
        await register_search_attributes(engine, [there, absent])
    assert "RuntimeFour" not in str(caught.value)
