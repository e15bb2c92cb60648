"""Which addresses a workflow may reach."""

import ipaddress
import socket
from typing import Any

import pytest

from nexusflow.connectors.http.addresses import is_reachable, resolve
from nexusflow.errors import Permanent, StepError, Transient

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "::ffff:93.184.216.34", "64:ff9b::1.1.1.1"]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fc00::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "2002:a00:1::",
    "fec0::1",
]
NEVER = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"]  # noqa: S104


@pytest.mark.parametrize(
    ("addresses", "allowed", "expected"),
    [
        (PUBLIC, "", True),
        (LOOPBACK + PRIVATE + NEVER, "", False),
        (PUBLIC + LOOPBACK, "loopback", True),
        (PRIVATE + NEVER, "loopback", False),
        (PUBLIC + LOOPBACK + PRIVATE, "all", True),
        (NEVER, "all", False),
    ],
)
def test_reach(addresses: list[str], allowed: str, expected: bool) -> None:
    wrong = [one for one in addresses if is_reachable(ipaddress.ip_address(one), allowed) is not expected]
    assert wrong == []


def answering(*addresses: str) -> Any:
    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    return getaddrinfo


def test_a_name_with_both_kinds_is_reached_at_its_public_address_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering("10.0.0.1", "1.1.1.1", "127.0.0.1"))
    assert resolve("mixed.example", 80, "") == ["1.1.1.1"]
    assert resolve("mixed.example", 80, "loopback") == ["1.1.1.1", "127.0.0.1"]


def test_a_private_name_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering("10.0.0.1"))
    with pytest.raises(Permanent, match="ADDRESS_REFUSED") as caught:
        resolve("inside.example", 80, "")
    assert "10.0.0.1" in caught.value.message
    assert "NEXUSFLOW_ALLOW_PRIVATE_ADDRESSES" in caught.value.hint


@pytest.mark.parametrize(("errno", "kind"), [(socket.EAI_AGAIN, Transient), (socket.EAI_NONAME, Permanent)])
def test_a_name_that_is_not_found(monkeypatch: pytest.MonkeyPatch, errno: int, kind: type[StepError]) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(errno, "no")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(kind, match="HOST_UNKNOWN"):
        resolve("nowhere.example", 80, "")
