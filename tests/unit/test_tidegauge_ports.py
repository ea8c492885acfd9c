"""Ports are checked before anything starts."""

from __future__ import annotations

import socket

import pytest

from tidegauge.part import Part, Port, StackError
from tidegauge.ports import check_ports


def part(name: str, number: int, setting: str) -> Part:
    return Part(name, ["true"], ports=(Port(number, setting),))


def test_every_taken_port_is_named_with_its_part_and_setting_at_once():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("0.0.0.0", 0)) as everywhere:
        first, second = one.getsockname()[1], everywhere.getsockname()[1]
        with pytest.raises(StackError) as raised:
            check_ports([part("valkey", first, "V_PORT"), part("store", second, "S_PORT")])
    assert str(raised.value).splitlines() == [
        f"port {first} for valkey: it is in use; choose another with V_PORT",
        f"port {second} for store: it is in use; choose another with S_PORT",
    ]


def test_a_free_port_passes_and_stays_free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    check_ports([part("store", number, "S_PORT")])
    socket.create_server(("127.0.0.1", number)).close()


def test_two_parts_with_one_port_are_told():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    with pytest.raises(StackError, match=rf"port {number} for collector: store has it too; choose another with C_PORT"):
        check_ports([part("store", number, "S_PORT"), part("collector", number, "C_PORT")])
