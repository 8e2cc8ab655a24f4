import socket

import pytest

from runtime.errors import PortTakenError
from runtime.ports import free_port, free_ports, require_free_ports


def test_a_taken_port_is_named_with_the_setting_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            require_free_ports({"api_port": free_port(), "simulator_port": port})
    assert str(caught.value) == (
        f"port {port} is already taken; stop what uses it, or choose another in AUTHPIPE_SIMULATOR_PORT"
    )


def test_two_settings_may_not_share_a_port() -> None:
    port = free_port()
    with pytest.raises(PortTakenError, match="AUTHPIPE_TEMPORAL_PORT and AUTHPIPE_API_PORT both name port"):
        require_free_ports({"api_port": port, "temporal_port": port})


def test_a_free_port_is_left_free() -> None:
    port = free_port()
    require_free_ports({"api_port": port})
    require_free_ports({"api_port": port})


def test_free_ports_asked_for_together_are_different_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.ports.UNASKED", [port := free_port(), port, port, free_port()])
    assert len(set(free_ports(2))) == 2
