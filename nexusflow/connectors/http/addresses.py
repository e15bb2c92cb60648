"""Which addresses a workflow may reach: public ones, and no others unless the deployment says so."""

import ipaddress
import socket

from nexusflow.errors import Permanent, Transient

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
NOT_FOUND_FOR_NOW = socket.EAI_AGAIN


def embedded_address(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, compatible, 6to4, Teredo, NAT64), else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    number = int(address)
    if any(address in network for network in NAT64) or (number >> 32 == 0 and number > 1):
        return ipaddress.IPv4Address(number & 0xFFFF_FFFF)
    return address


def is_reachable(address: Address, allowed: str) -> bool:
    """Whether a workflow may connect there; ``allowed`` is the deployment's: "" (public only), loopback or all."""
    address = embedded_address(address)
    if address.is_multicast or address.is_unspecified:
        return False
    if allowed == "all" or (allowed == "loopback" and address.is_loopback):
        return True
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not address.is_reserved and not site_local


def resolve(host: str, port: int, allowed: str) -> list[str]:
    """The addresses of a host that may be reached, in the resolver's order.

    Raises Permanent ADDRESS_REFUSED where none may, HOST_UNKNOWN (Transient while the resolver itself fails).
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        passing = getattr(error, "errno", None) == NOT_FOUND_FOR_NOW
        raise (Transient if passing else Permanent)(
            "HOST_UNKNOWN", f"No address is known for '{host}'.", "Check the host's name."
        ) from None
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    reachable = [one for one in addresses if is_reachable(ipaddress.ip_address(one), allowed)]
    if not reachable:
        raise Permanent(
            "ADDRESS_REFUSED",
            f"'{host}' is at {', '.join(addresses)}, which is not a public address.",
            "The deployment may allow it: NEXUSFLOW_ALLOW_PRIVATE_ADDRESSES=loopback or =all.",
        )
    return reachable
